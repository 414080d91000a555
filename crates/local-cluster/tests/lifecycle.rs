//! Kills and restarts servers; no server outlives its test.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::Command;

use crdb_local_cluster::{Cluster, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

fn accepts_connections(port: u16) -> bool {
    TcpStream::connect(("localhost", port)).is_ok()
}

#[test]
fn a_stopped_server_keeps_its_data_and_restarts_and_is_gone_when_a_test_panics() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        cluster.execute("CREATE TABLE t (i INT8)").unwrap();
        let (port, directory) = (cluster.port(), cluster.directory().to_owned());
        // PostgreSQL dies by itself first.
        if let Ok(file) = fs::read_to_string(directory.join("data/postmaster.pid")) {
            let server = file.lines().next().unwrap().parse().unwrap();
            kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        }
        cluster.kill(1).unwrap();
        assert!(!accepts_connections(port));
        cluster.restart(1).unwrap();
        cluster.execute("INSERT INTO t VALUES (1)").unwrap();
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
            println!("skipped: only root can act as another user");
            return;
        }
        let cluster = Cluster::start_as(kind).unwrap();
        let (port, directory) = (cluster.port(), cluster.directory().display());
        let psql = format!("psql -Xw -h 127.0.0.1 -p {port} -U postgres -c 'SELECT 1' postgres");
        let refusals = ["Permission denied", "no password supplied", "secure mode"];
        for command in [format!("cat {directory}/certs/ca.crt"), psql] {
            let mut sh = Command::new("sh");
            sh.uid(65534).gid(65534).current_dir("/").env("HOME", "/");
            let output = sh.args(["-c", &command]).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let is_refused = refusals.iter().any(|words| stderr.contains(words));
            assert!(is_refused, "{command}: {stderr}");
        }
    }
}
