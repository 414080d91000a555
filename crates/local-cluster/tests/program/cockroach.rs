//! CockroachDB of any version, one node and three: a script with the flags of all versions takes the
//! place of `cockroach`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::Directory;

const COCKROACH: &str = include_str!("cockroach.sh");

/// Returns a directory with the script.
fn directory() -> Directory {
    let directory = Directory::new(Some("./cockroach"));
    let cockroach = directory.path("cockroach");
    fs::write(&cockroach, COCKROACH).unwrap();
    fs::set_permissions(&cockroach, fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// Returns the calls that started a node, in the order of the nodes.
fn started(directory: &Directory) -> Vec<String> {
    let calls = fs::read_to_string(directory.path("calls")).unwrap();
    let started = calls.lines().filter(|call| call.starts_with("start "));
    let mut started: Vec<String> = started.map(str::to_owned).collect();
    started.sort();
    started
}

/// Returns the values of these flags.
fn flags<'a, const N: usize>(call: &'a str, names: [&str; N]) -> [&'a str; N] {
    names.map(|name| {
        let (_, value) = call.split_once(&format!("--{name}=")).unwrap();
        value.split_once(' ').unwrap().0
    })
}

fn is_running(call: &String) -> bool {
    let (_, pid) = call.rsplit_once(' ').unwrap();
    let ps = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    // In some containers no process waits for the children of a process that has been killed.
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn cockroachdb_of_any_version_starts_and_stops() {
    let directory = directory();
    let printed = directory.run("start");
    let words = "Started CockroachDB v21.2.17.\n";
    assert!(printed.starts_with(words), "{printed}");
    let printed = directory.run("stop");
    assert!(printed.ends_with("Stopped the local cluster.\n"));
}

#[test]
fn three_nodes_start_join_and_replicate_and_one_is_killed_and_restarted() {
    let directory = directory();
    let printed = directory.run("start --nodes 3");
    let words = "Started CockroachDB v21.2.17, 3 nodes.\n";
    assert!(printed.contains(words), "{printed}");
    let first = started(&directory);
    let [hosts] = flags(&first[0], ["join"]);
    let words = format!("@{hosts}/defaultdb?sslmode=verify-full");
    assert!(printed.contains(&words), "{printed}");
    for (call, host) in first.iter().zip(hosts.split(',')) {
        assert_eq!(flags(call, ["listen-addr", "join"]), [host, hosts]);
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
    let printed = directory.run("stop");
    assert!(printed.ends_with("Stopped the local cluster.\n"));
    assert!(!restarted.iter().any(is_running));
}
