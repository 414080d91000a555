//! No server outlives the program that started it.

use std::io::{BufRead, BufReader};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crdb_local_cluster::Cluster;
use nix::sys::signal::kill;
use nix::unistd::Pid;

fn runs(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

fn assert_gone(pid: i32, directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while runs(pid) || directory.exists() {
        assert!(
            Instant::now() < deadline,
            "{pid} or {} is still there",
            directory.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_stops_when_a_test_panics() {
    let started = panic::catch_unwind(|| {
        let cluster = Cluster::start().unwrap();
        assert!(runs(cluster.pid()));
        panic::panic_any((cluster.pid(), cluster.directory().to_owned()));
    });
    let (pid, directory) = *started.unwrap_err().downcast::<(i32, PathBuf)>().unwrap();
    assert_gone(pid, &directory);
}

#[test]
fn the_server_stops_when_its_program_is_killed() {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "a_program_that_is_killed",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let told = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("started ").map(|(_, told)| told.to_owned()));
    let told = told.expect("the program told what it started");
    let (pid, directory) = told.split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(runs(pid));
    program.kill().unwrap();
    program.wait().unwrap();
    assert_gone(pid, Path::new(directory));
}

#[test]
#[ignore = "run, and killed, by the test above"]
fn a_program_that_is_killed() {
    let cluster = Cluster::start().unwrap();
    println!(
        "started {} {}",
        cluster.pid(),
        cluster.directory().display()
    );
    std::thread::sleep(Duration::from_secs(600));
}
