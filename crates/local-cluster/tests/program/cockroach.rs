//! CockroachDB of any version, one node and three: a script with the flags of all versions takes the
//! place of `cockroach`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::Directory;

/// Returns the calls that started a node, in the order of the nodes.
fn started(directory: &Directory) -> Vec<String> {
    let calls = fs::read_to_string(directory.path("calls")).unwrap();
    let started = calls.lines().filter(|call| call.starts_with("start "));
    let mut started: Vec<String> = started.map(str::to_owned).collect();
    started.sort();
    started
}

fn is_running(call: &String) -> bool {
    let (_, pid) = call.rsplit_once(' ').unwrap();
    let ps = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    // In some containers no process waits for the children of a process that has been killed.
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn one_node_starts_and_three_nodes_join_and_replicate_and_one_is_killed_and_restarted() {
    let directory = Directory::new(Some("./cockroach"));
    let cockroach = directory.path("cockroach");
    fs::write(&cockroach, include_str!("cockroach.sh")).unwrap();
    fs::set_permissions(&cockroach, fs::Permissions::from_mode(0o700)).unwrap();
    let printed = directory.run("start");
    let words = "Started CockroachDB v21.2.17.\n";
    assert!(printed.starts_with(words), "{printed}");
    directory.run("stop");

    fs::remove_file(directory.path("calls")).unwrap();
    let printed = directory.run("start --nodes 3");
    let words = "Started CockroachDB v21.2.17, 3 nodes.\n";
    assert!(printed.contains(words), "{printed}");
    let (_, hosts) = printed.split_once('@').unwrap();
    let (hosts, _) = hosts.split_once('/').unwrap();
    let first = started(&directory);
    for (call, host) in first.iter().zip(hosts.split(',')) {
        let flags = [format!("--listen-addr={host} "), format!("--join={hosts} ")];
        assert!(flags.iter().all(|flag| call.contains(flag)), "{call}");
    }
    let calls = fs::read_to_string(directory.path("calls")).unwrap();
    let order = ["start ", "init ", "CREATE USER", "ranges_no_leases"];
    assert!(order.map(|what| calls.rfind(what)).is_sorted(), "{calls}");

    assert_eq!(directory.run("kill 1"), "Node 1 was killed.\n");
    let running: Vec<bool> = first.iter().map(is_running).collect();
    assert_eq!(running, [false, true, true]);
    assert_eq!(directory.run("restart 1"), "Node 1 runs again.\n");
    let restarted = started(&directory);
    let [before, after] = [0, 1].map(|call| restarted[call].rsplit_once(' ').unwrap().0);
    assert_eq!(before, after, "the same flags");
    let refused = "Error: there is no node 4: the last node is 3\n";
    assert_eq!(directory.run("kill 4"), refused);
    directory.run("kill 3");
    directory.run("stop");
    assert!(!restarted.iter().any(is_running));
}
