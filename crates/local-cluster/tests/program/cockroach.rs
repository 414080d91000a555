//! CockroachDB of any version, one node and three: a script with the flags of all versions takes the
//! place of `cockroach`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

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

/// Returns the value of a flag.
fn flag<'a>(call: &'a str, name: &str) -> &'a str {
    let (_, value) = call.split_once(&format!("--{name}=")).unwrap();
    value.split_once(' ').unwrap().0
}

fn is_running(call: &str) -> bool {
    let (_, pid) = call.rsplit_once(' ').unwrap();
    let ps = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    // In some containers no process waits for the children of a process that has been killed.
    !state.is_empty() && !state.starts_with('Z')
}

fn assert_all_gone(started: &[String]) {
    let directory = Path::new(flag(&started[0], "cwd"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.exists() || started.iter().any(|call| is_running(call)) {
        assert!(Instant::now() < deadline, "{started:?} still exist");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn cockroachdb_of_any_version_starts_and_stops() {
    let directory = directory();
    let printed = directory.run("start");
    let words = "Started CockroachDB v21.2.17.\n";
    assert!(printed.starts_with(words), "{printed}");
    assert!(directory.run("url").starts_with("postgresql://demo:"));
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
    let hosts = flag(&first[0], "join");
    let url = directory.run("url");
    let words = format!("@{hosts}/defaultdb?sslmode=verify-full");
    assert!(url.contains(&words), "{url}");
    for (call, host) in first.iter().zip(hosts.split(',')) {
        let flags = ["listen-addr", "advertise-addr", "join"].map(|name| flag(call, name));
        assert_eq!(flags, [host, host, hosts]);
    }
    let calls = fs::read_to_string(directory.path("calls")).unwrap();
    let order = ["start ", "init ", "CREATE USER", "ranges_no_leases"];
    assert!(order.map(|what| calls.rfind(what)).is_sorted(), "{calls}");

    assert_eq!(directory.run("kill 1"), "Node 1 was killed.\n");
    let running: Vec<bool> = first.iter().map(|call| is_running(call)).collect();
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
    assert_all_gone(&restarted);
}

#[test]
fn servers_that_run_or_have_been_stopped_are_gone_when_their_program_is_killed() {
    for stopped in [&["kill 2"][..], &["kill 1", "kill 2", "kill 3"]] {
        let directory = directory();
        let mut program = directory.daemon("daemon 3");
        for command in stopped {
            directory.run(command);
        }
        program.kill().unwrap();
        program.wait().unwrap();
        assert_all_gone(&started(&directory));
    }
}

#[test]
fn what_has_no_nodes_is_refused_with_the_reason() {
    // Without a binary, PostgreSQL starts.
    let directory = Directory::new(Some(""));
    let no_binary = "no cockroach binary found: scripts/setup --cockroach downloads one";
    for (arguments, reason) in [
        ("start --nodes 3", no_binary),
        ("start --nodes 2", "a cluster has 1 or 3 nodes here, not 2"),
        ("start --nodes three", "three is not a number"),
        ("kill 1", "no local cluster is running"),
        ("start", "Started PostgreSQL"),
        ("kill 1", "PostgreSQL has no nodes"),
    ] {
        let mut command = directory.command(arguments);
        command.env("XDG_CACHE_HOME", directory.path("cache"));
        let output = command.env("PATH", "/usr/bin:/bin").output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains(reason), "{arguments}: {printed}");
    }
}
