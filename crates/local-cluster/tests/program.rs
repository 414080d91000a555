//! The program `local-cluster`, which scripts/local-cluster runs.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-cluster");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/local-cluster");

/// A directory in which the program runs, and the only CockroachDB, if it is `Some`; if it is empty,
/// there is none. The cluster is stopped even if an assertion fails.
struct Directory(TempDir, Option<&'static str>);

impl Directory {
    fn new(cockroach: Option<&'static str>) -> Directory {
        Directory(tempfile::tempdir().unwrap(), cockroach)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments.split(' ')).current_dir(&self.0);
        command.env("COCKROACH_INSECURE", "true");
        if let Some(cockroach) = self.1 {
            command.env("COCKROACH", cockroach);
            command.env("PATH", "/usr/bin:/bin");
            command.env("XDG_CACHE_HOME", "/nonexistent");
        }
        command
    }

    fn run(&self, arguments: &str) -> String {
        printed(self.command(arguments).output())
    }

    fn assert_prints(&self, commands: &[(&str, &str)]) {
        for (arguments, words) in commands {
            let printed = self.run(arguments);
            assert!(printed.contains(words), "{arguments}: {printed}");
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.run("stop");
    }
}

fn printed(output: io::Result<Output>) -> String {
    let output = output.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn start_prints_the_url_and_stop_removes_only_what_start_wrote() {
    let cluster = Directory::new(None);
    let printed = cluster.run("start");
    let url = cluster.run("url");
    assert!(url.starts_with("postgresql://demo:"), "{url}");
    let line = format!("DATABASE_URL='{}'\n", url.trim());
    assert!(printed.contains(&line), "{printed}");
    let dotenv = cluster.path(".env");
    assert!(fs::read_to_string(&dotenv).unwrap().contains(&line));
    let mode = fs::metadata(&dotenv).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert!(cluster.run("start").contains("already running"));
    let mut socket = UnixStream::connect(cluster.path(".local-cluster/cluster/control")).unwrap();
    socket.write_all(b"\xff\xfe stop\n").unwrap();
    assert_eq!(cluster.run("url"), url);

    let root = fs::read_link(cluster.path(".local-cluster/cluster")).unwrap();
    assert!(cluster.run("stop").starts_with("Removed .env.\nStopped"));
    assert!(!root.exists());
    assert_eq!(fs::read_dir(cluster.path("")).unwrap().count(), 0);
    let output = cluster.command("url").output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
}

#[test]
fn the_server_stops_when_its_program_is_killed() {
    let cluster = Directory::new(None);
    let mut daemon = cluster.command("daemon");
    let mut daemon = daemon.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    let root = fs::read_link(cluster.path(".local-cluster/cluster")).unwrap();
    let url = cluster.run("url");
    let (_, address) = url.split_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let runs = || root.exists() || TcpStream::connect(address).is_ok();
    assert!(runs());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while runs() {
        assert!(Instant::now() < deadline, "{url} still runs");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_command_says_what_it_did_or_why_not() {
    let directory = Directory::new(Some(""));
    fs::write(directory.path(".env"), "MINE=1\n").unwrap();
    directory.assert_prints(&[
        ("restart", "Usage: scripts/local-cluster start [--nodes 3]"),
        ("start --nodes 3", "no cockroach binary found"),
        ("kill 1", "no local cluster is running"),
        ("start", "Your .env exists and was not changed."),
        ("start --nodes 3", "Error: A local cluster is already"),
        ("kill 2", "there is no node 2"),
        ("stop", "Stopped the local cluster."),
    ]);
    assert_eq!(fs::read(directory.path(".env")).unwrap(), b"MINE=1\n");
    // Not even root can write here: on Linux, or on macOS.
    let here = Path::new("/proc").exists().then_some("/proc");
    let mut start = directory.command("start");
    let printed = printed(start.current_dir(here.unwrap_or("/")).output());
    assert!(printed.contains("cannot write .local-cluster"), "{printed}");
}

/// Paths with special characters are tested with the samples, which read them in the string.
#[test]
fn start_works_with_a_tmpdir_that_is_long_private_or_missing() {
    let base = tempfile::tempdir().unwrap();
    let [long, private, missing] =
        [&"x".repeat(200), "private", "missing"].map(|name| base.path().join(name));
    fs::create_dir(&long).unwrap();
    fs::create_dir(&private).unwrap();
    for (path, mode) in [(base.path(), 0o755), (&long, 0o755), (&private, 0o700)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    // If root runs the test, the server's user cannot enter the private one.
    let enters = !Uid::effective().is_root();
    for (tmpdir, is_used) in [(long, true), (private, enters), (missing, false)] {
        let directory = Directory::new(Some(""));
        let mut start = directory.command("start");
        start.env("TMPDIR", &tmpdir).output().unwrap();
        let root = fs::read_link(directory.path(".local-cluster/cluster")).unwrap();
        assert_eq!(root.starts_with(tmpdir), is_used, "{root:?}");
        assert!(directory.run("url").starts_with("postgresql://"));
        directory.run("stop");
        assert!(!root.exists());
    }
}

#[test]
fn start_keeps_no_descriptor_open_and_output_that_is_not_read_is_no_error() {
    let directory = Directory::new(Some(""));
    let started = Command::new("bash")
        .args(["-c", r#""$0" start 57>&1 | (read -rt 60 -d '' _; echo $?)"#])
        .arg(PROGRAM)
        .current_dir(directory.path(""))
        .env("COCKROACH", "")
        .output();
    // 1 is the end of the pipe; after the time limit it would be 142.
    assert_eq!(printed(started), "1\n");

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = directory.command("url").stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn what_a_killed_program_left_is_removed_if_it_has_the_password() {
    for (password, is_removed) in [("secret", true), ("other", false)] {
        let directory = Directory::new(Some(""));
        let left = tempfile::tempdir().unwrap();
        fs::write(left.path().join("password"), password).unwrap();
        fs::create_dir(directory.path(".local-cluster")).unwrap();
        symlink(left.path(), directory.path(".local-cluster/cluster")).unwrap();
        let dotenv = "DATABASE_URL='postgresql://demo:secret@localhost:1/defaultdb'\n";
        fs::write(directory.path(".local-cluster/env"), dotenv).unwrap();
        assert_eq!(directory.run("stop"), "No local cluster is running.\n");
        assert_eq!(left.path().exists(), !is_removed);
        assert!(!directory.path(".local-cluster").exists());
    }
}

#[test]
fn the_script_runs_in_the_checkout_wherever_and_however_it_is_called() {
    let directory = Directory::new(None);
    write_program(&directory.path("cargo"), "#!/bin/sh\necho \"$PWD: $*\"\n");
    symlink(SCRIPT, directory.path("link")).unwrap();
    let root = fs::canonicalize(SCRIPT).unwrap();
    let root = root.parent().unwrap().parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path("").display());
    let mut link = Command::new("./link");
    link.arg("url").current_dir(directory.path(""));
    link.env("CDPATH", root)
        .env_remove("HOME")
        .env("PATH", path);
    let root = root.display();
    let expected = format!("{root}: run --quiet --bin local-cluster -- url\n");
    assert_eq!(printed(link.output()), expected);
}

/// A script with the flags of all versions takes the place of `cockroach`.
#[test]
fn cockroachdb_starts_with_one_node_and_with_three_of_which_one_is_killed_and_restarted() {
    let directory = Directory::new(Some("./cockroach"));
    write_program(&directory.path("cockroach"), include_str!("cockroach.sh"));
    directory.assert_prints(&[
        ("start", "Started CockroachDB v21.2.17.\n"),
        ("stop", "Stopped the local cluster."),
        ("start --nodes 3", "Started CockroachDB v21.2.17.\n"),
        ("kill 1", "Node 1 was killed.\n"),
        ("restart 1", "Node 1 runs again.\n"),
    ]);
    let calls = fs::read_to_string(directory.path("calls")).unwrap();
    let (_, calls) = calls.split_once("start --join").unwrap();
    let order = ["init ", "CREATE USER", "ranges_no_leases"];
    assert!(order.is_sorted_by_key(|call| calls.find(call).unwrap()));
    assert_eq!(directory.run("url").matches("localhost:").count(), 3);
}
