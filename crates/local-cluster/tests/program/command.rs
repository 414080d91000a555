//! The commands `start`, `url` and `stop`, on the server that `start` chooses and on PostgreSQL.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::Directory;

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

    let (_, root) = url.trim().rsplit_once("sslrootcert=").unwrap();
    assert!(Path::new(root).exists());
    let printed = cluster.run("stop");
    assert_eq!(printed, "Removed .env.\nStopped the local cluster.\n");
    assert!(!Path::new(root).exists(), "the server's directory");
    assert_eq!(fs::read_dir(cluster.path("")).unwrap().count(), 0);
    let output = cluster.command("url").output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
}

#[test]
fn a_dotenv_of_the_user_is_neither_overwritten_nor_removed() {
    let cluster = Directory::new(Some(""));
    let text = "DATABASE_URL=mine\n";
    fs::write(cluster.path(".env"), text).unwrap();
    let printed = cluster.run("start");
    assert!(printed.contains("was not changed"), "{printed}");
    assert_eq!(cluster.run("stop"), "Stopped the local cluster.\n");
    assert_eq!(fs::read_to_string(cluster.path(".env")).unwrap(), text);
}

#[test]
fn the_server_stops_when_its_program_is_killed() {
    let cluster = Directory::new(None);
    let mut daemon = cluster.command("daemon");
    let mut daemon = daemon.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(daemon.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"));
    let url = cluster.run("url");
    let (before, root) = url.trim().rsplit_once("sslrootcert=").unwrap();
    let (_, address) = before.split_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let runs = || Path::new(root).exists() || TcpStream::connect(address).is_ok();
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
fn what_cannot_be_done_is_refused_with_the_reason() {
    let directory = Directory::new(Some(""));
    let no_binary = "no cockroach binary found: scripts/setup --cockroach downloads one";
    // Not even root can write here: on Linux, or on macOS.
    let proc = Path::new(if Path::new("/proc").exists() {
        "/proc"
    } else {
        "/"
    });
    let here = directory.path("");
    for (arguments, current, reason) in [
        (
            "restart",
            &*here,
            "Usage: scripts/local-cluster start [--nodes 3]",
        ),
        ("start", proc, "cannot write .local-cluster and .env in /"),
        ("start --nodes 3", &here, no_binary),
        ("kill 1", &here, "no local cluster is running"),
        ("start", &here, "Started PostgreSQL"),
        (
            "start --nodes 3",
            &here,
            "Error: A local cluster is already running",
        ),
        ("kill 2", &here, "there is no node 2"),
    ] {
        let output = directory
            .command(arguments)
            .current_dir(current)
            .output()
            .unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains(reason), "{arguments}: {printed}");
    }
}
