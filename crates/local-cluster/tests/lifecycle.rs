//! Kills and restarts servers; no server outlives its test.

use std::fs;
use std::net::TcpStream;
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
        let (port, directory) = (cluster.port(), cluster.directory().to_owned());
        for dies_by_itself in [false, kind == Kind::Postgres] {
            if dies_by_itself {
                let file = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
                let server = file.lines().next().unwrap().parse().unwrap();
                kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
            }
            cluster.kill(1).unwrap();
            assert!(!accepts_connections(port));
            cluster.restart(1).unwrap();
            cluster.execute("INSERT INTO t VALUES (1)").unwrap();
        }
        let panicked = panic::catch_unwind(move || {
            assert_eq!(cluster.port(), port);
            panic!("the test fails");
        });
        panicked.unwrap_err();
        assert!(!accepts_connections(port));
        assert!(!directory.exists());
    }
}

#[test]
fn another_user_of_the_machine_can_neither_read_the_directory_nor_connect() {
    for kind in Kind::available().unwrap() {
        if !Uid::effective().is_root() {
            println!("skipped: only root can act as the user nobody");
            return;
        }
        let cluster = Cluster::start_as(kind).unwrap();
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let (port, directory) = (cluster.port(), cluster.directory().display());
        let psql = format!("psql -Xw -h 127.0.0.1 -p {port} -U postgres -c 'SELECT 1' postgres");
        let no_password = match kind {
            Kind::Cockroach => "node is running secure mode",
            Kind::Postgres => "no password supplied",
        };
        let cat = format!("cat {directory}/certs/ca.crt");
        for (command, refusal) in [(cat, "Permission denied"), (psql, no_password)] {
            let mut sh = Command::new("sh");
            sh.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
            let sh = sh.args(["-c", &command]).current_dir("/").env("HOME", "/");
            let stderr = String::from_utf8(sh.output().unwrap().stderr).unwrap();
            assert!(stderr.contains(refusal), "{command}: {stderr}");
        }
    }
}
