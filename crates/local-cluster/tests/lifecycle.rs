//! Stops and restarts servers; no server outlives the program that started it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crdb_local_cluster::{Cluster, Kind};
use nix::sys::signal::kill;
use nix::unistd::Pid;

fn is_running(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

fn assert_gone(pid: i32, directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(pid) || directory.exists() {
        assert!(
            Instant::now() < deadline,
            "{pid} or {} still exists",
            directory.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_stops_when_a_test_panics() {
    let started = panic::catch_unwind(|| {
        let cluster = Cluster::start().unwrap();
        assert!(is_running(cluster.pid()));
        panic::panic_any((cluster.pid(), cluster.directory().to_owned()));
    });
    let (pid, directory) = *started.unwrap_err().downcast::<(i32, PathBuf)>().unwrap();
    assert_gone(pid, &directory);
}

#[test]
fn a_stopped_server_keeps_its_data_and_restarts() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        cluster.execute("CREATE TABLE t (i INT8)").unwrap();
        let (pid, port) = (cluster.pid(), cluster.port());
        for _ in 0..2 {
            cluster.stop().unwrap();
            assert!(!is_running(pid));
            TcpStream::connect(("localhost", port)).unwrap_err();
            cluster.execute("SELECT 1").unwrap_err();
        }
        for _ in 0..2 {
            cluster.restart().unwrap();
            assert!(is_running(cluster.pid()));
            assert_eq!(cluster.port(), port);
            cluster.execute("INSERT INTO t VALUES (1)").unwrap();
        }
        cluster.stop().unwrap();
        let (pid, directory) = (cluster.pid(), cluster.directory().to_owned());
        assert!(directory.join("data").exists());
        drop(cluster);
        assert!(!is_running(pid));
        assert!(!directory.exists());
    }
}

#[test]
fn the_server_stops_when_its_program_is_killed() {
    kill_program("running");
}

#[test]
fn the_directory_of_a_stopped_server_is_removed_when_its_program_is_killed() {
    kill_program("stopped");
}

/// Runs the ignored test of this file as a program, and kills it.
fn kill_program(state: &str) {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture"])
        .env("STATE_OF_THE_SERVER", state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let started = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("started ")?.1.to_owned()));
    let started = started.expect("the program prints what it started");
    let (pid, directory) = started.split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(Path::new(directory).exists());
    program.kill().unwrap();
    program.wait().unwrap();
    assert_gone(pid, Path::new(directory));
}

#[test]
#[ignore = "the other tests run and kill it"]
fn a_program_that_is_killed() {
    let cluster = Cluster::start().unwrap();
    if std::env::var("STATE_OF_THE_SERVER").unwrap() == "stopped" {
        cluster.stop().unwrap();
    }
    println!(
        "started {} {}",
        cluster.pid(),
        cluster.directory().display()
    );
    std::thread::sleep(Duration::from_secs(600));
}
