//! Stops and restarts servers; no server outlives its test.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::Command;

use crdb_local_cluster::{Cluster, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

fn accepts_connections(port: u16) -> bool {
    TcpStream::connect(("localhost", port)).is_ok()
}

#[test]
fn a_stopped_server_keeps_its_data_and_restarts_and_is_gone_when_a_test_panics() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        cluster.execute("CREATE TABLE t (i INT8)").unwrap();
        let port = cluster.port();
        for _ in 0..2 {
            cluster.stop().unwrap();
            assert!(!accepts_connections(port));
            cluster.execute("SELECT 1").unwrap_err();
        }
        for _ in 0..2 {
            cluster.restart().unwrap();
            assert_eq!(cluster.port(), port);
            cluster.execute("INSERT INTO t VALUES (1)").unwrap();
        }
        let directory = cluster.directory().to_owned();
        assert!(directory.join("data").exists());
        let panicked = panic::catch_unwind(move || {
            cluster.execute("SELECT 1").unwrap();
            panic!("the test fails");
        });
        panicked.unwrap_err();
        assert!(!accepts_connections(port));
        assert!(!directory.exists());
    }
}

#[test]
fn a_server_that_has_died_by_itself_stops_and_restarts() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    for _ in 0..2 {
        let file = fs::read_to_string(cluster.directory().join("data/postmaster.pid")).unwrap();
        let server = file.lines().next().unwrap().parse().unwrap();
        kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        cluster.stop().unwrap();
        cluster.restart().unwrap();
        cluster.execute("SELECT 1").unwrap();
    }
}

#[test]
fn another_user_of_the_machine_can_neither_read_the_directory_nor_connect() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let directory = cluster.directory().to_str().unwrap();
        let mode = fs::metadata(directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let Some(nobody) = User::from_name("nobody")
            .unwrap()
            .filter(|_| Uid::effective().is_root())
        else {
            println!("skipped: only root can act as the user nobody");
            return;
        };
        let port = cluster.port().to_string();
        let psql =
            |host| format!("psql -Xw -h {host} -p {port} -U postgres -c 'SELECT 1' postgres");
        for (command, refusal) in [
            (format!("cat {directory}/certs/*.key"), "Permission denied"),
            (psql(directory), "Permission denied"),
            (psql("127.0.0.1"), "password"),
            (psql("localhost"), "password"),
        ] {
            let output = Command::new("sh")
                .args(["-c", &command])
                .uid(nobody.uid.as_raw())
                .gid(nobody.gid.as_raw())
                .current_dir("/")
                .env("HOME", "/")
                .output()
                .unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let secure = "node is running secure mode";
            let is_refused = stderr.contains(refusal) || stderr.contains(secure);
            assert!(
                !output.status.success() && is_refused,
                "{command}: {stderr}"
            );
        }
    }
}
