//! The commands `start`, `url` and `stop`.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Directory;

#[test]
fn start_prints_the_url_and_stop_removes_only_what_start_wrote() {
    let cluster = Directory::new(None);
    fs::write(cluster.path("mine"), "untouched").unwrap();
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
    let another = cluster.run("start --nodes 3");
    assert!(another.starts_with("Error: A local cluster is already running"));
    let mut socket = UnixStream::connect(cluster.path(".local-cluster/cluster/control")).unwrap();
    socket.write_all(b"\xff\xfe stop\n").unwrap();
    assert_eq!(cluster.run("url"), url);

    let (_, root) = url.trim().rsplit_once("sslrootcert=").unwrap();
    assert!(Path::new(root).exists());
    let printed = cluster.run("stop");
    assert_eq!(printed, "Removed .env.\nStopped the local cluster.\n");
    assert!(!Path::new(root).exists(), "the server's directory");
    let left = fs::read_dir(&cluster.directory).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);

    let output = cluster.command("url").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_dotenv_of_the_user_is_neither_overwritten_nor_removed() {
    for existing in [Some("DATABASE_URL=mine\n"), None] {
        let cluster = Directory::new(None);
        let dotenv = cluster.path(".env");
        if let Some(text) = existing {
            fs::write(&dotenv, text).unwrap();
        }
        let printed = cluster.run("start");
        let mut text = fs::read_to_string(&dotenv).unwrap();
        if let Some(existing) = existing {
            assert!(printed.contains("was not changed"), "{printed}");
            assert_eq!(text, existing);
        }
        text += "MINE=1\n";
        fs::write(&dotenv, &text).unwrap();
        cluster.run("stop");
        assert_eq!(fs::read_to_string(&dotenv).unwrap(), text);
    }
}

#[test]
fn the_server_stops_when_its_program_is_killed() {
    let cluster = Directory::new(None);
    let mut program = cluster.daemon("daemon");
    let url = cluster.run("url");
    let (before, root) = url.trim().rsplit_once("sslrootcert=").unwrap();
    let (_, address) = before.split_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let runs = || Path::new(root).exists() || TcpStream::connect(address).is_ok();
    assert!(runs());
    program.kill().unwrap();
    program.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while runs() {
        assert!(Instant::now() < deadline, "{url} still runs");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let output = Directory::new(None).command("restart").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start [--nodes 3] | stop | url"));
}
