//! CockroachDB of any version, one node and three: a script with the flags of all versions takes the
//! place of `cockroach`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

/// Like version 21.2, it has no setting for the iterations of SCRAM and no variable that allows
/// `crdb_internal`. Like all versions, it reads variables such as `COCKROACH_INSECURE`, and it
/// rejects unknown flags. It answers while its process lives. The answer to `init` is lost once, and
/// the ranges are replicated at the third look. It records its calls, each with its process id.
const COCKROACH: &str = r#"#!/bin/sh
calls=$(dirname "$0")/calls
echo "$(printf '%s ' "$@" | tr '\n' ' ')$$" >>"$calls"
count() { grep -c "^$1" "$calls"; }
fail() { echo "ERROR: $1" >&2; exit 1; }
[ -z "$COCKROACH_INSECURE" ] || fail "--insecure and --certs-dir"
case "$1" in
    start) flags='certs-dir|store|listen-addr|advertise-addr|http-addr|join|cache|max-sql-memory' ;;
    start-single-node) flags='certs-dir|store|listen-addr|http-addr' ;;
    init) flags='certs-dir|host' ;;
    sql) flags='certs-dir|host|format' ;;
esac
! printf '%s\n' "$@" | grep -e ^-- | grep -qvE "^--($flags)=" || fail "unknown flag"
host=$(printf '%s\n' "$@" | sed -n 's/^--host=//p')
case "$*" in
    start*) exec sleep 600 ;;
    version*) echo 'Build Tag:        v21.2.17'; exit ;;
    init*)
        [ "$(count start)" = 3 ] || fail "cannot dial server"
        [ "$(count init)" -gt 2 ] || fail "the answer is lost"
        fail "cluster has already been initialized"
        ;;
    *'SET CLUSTER SETTING '*) fail "unknown cluster setting 'server.user_login'" ;;
    *allow_unsafe_internals*) fail "unrecognized configuration parameter" ;;
    *ranges_no_leases*) [ "$(count 'sql.*ranges_no_leases')" -lt 6 ] || echo replicated ;;
esac
kill -0 "$(sed -n "/^start.*--listen-addr=$host /s/.* //p" "$calls" | tail -n 1)"
"#;

/// A directory with the script. The cluster is stopped even if an assertion fails.
struct Directory(TempDir);

impl Directory {
    fn new() -> Directory {
        let directory = tempfile::tempdir().unwrap();
        let cockroach = directory.path().join("cockroach");
        fs::write(&cockroach, COCKROACH).unwrap();
        fs::set_permissions(&cockroach, fs::Permissions::from_mode(0o700)).unwrap();
        Directory(directory)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-cluster"));
        command
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .env("COCKROACH", "./cockroach")
            .env("COCKROACH_INSECURE", "true");
        command
    }

    /// Runs a command and returns what it prints.
    fn run(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap();
        calls.lines().map(str::to_owned).collect()
    }

    /// Returns the calls that started a node, in the order of the nodes.
    fn started(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| call.starts_with("start "));
        calls.sort();
        calls
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// Returns the value of a flag.
fn flag<'a>(call: &'a str, name: &str) -> &'a str {
    let (_, value) = call.split_once(&format!("--{name}=")).unwrap();
    value.split_once(' ').unwrap().0
}

fn is_running(call: &str) -> bool {
    let (_, pid) = call.rsplit_once(' ').unwrap();
    kill(Pid::from_raw(pid.parse().unwrap()), None).is_ok()
}

fn assert_all_gone(started: &[String]) {
    let directory = Path::new(flag(&started[0], "certs-dir")).parent().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.exists() || started.iter().any(|call| is_running(call)) {
        assert!(Instant::now() < deadline, "{started:?} still exist");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn cockroachdb_of_any_version_starts_and_stops() {
    let directory = Directory::new();
    let started = directory.run("start");
    assert!(
        started.starts_with("Started CockroachDB v21.2.17.\n"),
        "{started}"
    );
    assert!(directory.run("url").starts_with("postgresql://demo:"));
    assert!(
        directory
            .run("stop")
            .ends_with("Stopped the local cluster.\n")
    );
}

#[test]
fn three_nodes_start_join_and_replicate_and_one_is_killed_and_restarted() {
    let directory = Directory::new();
    let printed = directory.run("start --nodes 3");
    assert!(
        printed.contains("Started CockroachDB v21.2.17, 3 nodes.\n"),
        "{printed}"
    );
    let started = directory.started();
    let hosts = flag(&started[0], "join");
    assert!(
        directory
            .run("url")
            .contains(&format!("@{hosts}/defaultdb?sslmode=verify-full"))
    );
    for (node, host) in hosts.split(',').enumerate() {
        let call = &started[node];
        assert!(
            flag(call, "store").ends_with(&format!("/data/{}", node + 1)),
            "{call}"
        );
        let flags = ["listen-addr", "advertise-addr", "join"].map(|name| flag(call, name));
        assert_eq!(flags, [host, host, hosts]);
    }
    let calls = directory.calls();
    let order = ["start ", "init ", "CREATE USER", "ranges_no_leases"];
    let last = |what: &str| calls.iter().rposition(|call| call.contains(what));
    assert!(order.map(last).is_sorted(), "{calls:?}");

    assert_eq!(directory.run("kill 1"), "Node 1 was killed.\n");
    let running: Vec<bool> = started.iter().map(|call| is_running(call)).collect();
    assert_eq!(running, [false, true, true]);
    assert_eq!(directory.run("restart 1"), "Node 1 runs again.\n");
    let restarted = directory.started();
    let [first, again] = [0, 1].map(|node| restarted[node].rsplit_once(' ').unwrap().0);
    assert_eq!(first, again);
    assert_eq!(
        directory.run("kill 4"),
        "Error: there is no node 4: the last node is 3\n"
    );
    directory.run("kill 3");
    assert!(
        directory
            .run("stop")
            .ends_with("Stopped the local cluster.\n")
    );
    assert_all_gone(&restarted);
}

#[test]
fn all_nodes_stop_when_their_program_is_killed() {
    let directory = Directory::new();
    let mut program = directory
        .command("daemon 3")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(program.stdout.take().unwrap());
    assert_eq!(output.lines().next().unwrap().unwrap(), "ready");
    directory.run("kill 2");
    program.kill().unwrap();
    program.wait().unwrap();
    assert_all_gone(&directory.started());
}

#[test]
fn what_has_no_nodes_is_refused_with_the_reason() {
    let directory = Directory::new();
    for (arguments, reason) in [
        (
            "start --nodes 3",
            "no cockroach binary found: scripts/setup --cockroach downloads one",
        ),
        ("start --nodes 2", "a cluster has 1 or 3 nodes here, not 2"),
        ("start --nodes three", "three is not a number"),
        ("kill 1", "no local cluster is running"),
        ("start", ""),
        ("kill 1", "PostgreSQL has no nodes"),
    ] {
        let mut command = directory.command(arguments);
        // Without a binary, PostgreSQL starts.
        command.env("COCKROACH", "").env("PATH", "/usr/bin:/bin");
        let output = command
            .env("XDG_CACHE_HOME", directory.0.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(reason), "{arguments}: {stderr}");
    }
}
