//! The `compare` example, run as a user runs it.

mod report;
mod server;
mod verdict;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crdb_compare::cost;
use crdb_conformance::sample::{example, run};
use crdb_local_cluster::{Cluster, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A quick run, shared by the tests that read its results.
struct Quick {
    directory: tempfile::TempDir,
    printed: String,
    schemas_left: String,
}

const SCHEMAS: &str = "SELECT 'schemas: ' || count(*)::TEXT FROM information_schema.schemata \
                       WHERE schema_name LIKE 'crdb_compare%'";

static QUICK: LazyLock<Quick> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(*Kind::available().unwrap().last().unwrap()).unwrap();
    let mut compare = compare(directory.path(), &cluster.url());
    let output = compare
        .args(["--quick", "--json", "figures.json"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    Quick {
        directory,
        printed,
        schemas_left: cluster.execute(SCHEMAS).unwrap(),
    }
});

fn compare(directory: &Path, url: &str) -> Command {
    let mut command = Command::new(example("compare"));
    command
        .current_dir(directory)
        .env("DATABASE_URL", url)
        .env("CARGO", env!("CARGO"));
    command
}

#[test]
fn a_quick_run_measures_everything_and_leaves_nothing_behind() {
    let text = fs::read_to_string(QUICK.directory.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = figures["contestants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..4],
        ["postgres", "diesel", "sea-orm", "one statement"]
    );
    let contestants = figures["contestants"].as_array().unwrap();
    for (measured, steady) in contestants.iter().zip([5, 5, 7, 1]) {
        assert_eq!(
            measured["round_trips"]["transfer_steady"], steady,
            "{measured}"
        );
        assert!(
            measured["one_worker"]["transfers_per_second"]
                .as_f64()
                .unwrap()
                > 0.0
        );
        assert!(
            measured["one_worker"]["p99_ms"].as_f64() >= measured["one_worker"]["p50_ms"].as_f64()
        );
        assert!(
            measured["contention"]["transfers_per_second"]
                .as_f64()
                .unwrap()
                > 0.0
        );
        assert_eq!(measured["contention"]["balances_conserved"], true);
        let distances: Vec<f64> = measured["distance"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                one["transfer_p50_ms"].as_f64().unwrap() / one["round_trip_ms"].as_f64().unwrap()
            })
            .collect();
        assert!(
            distances.iter().all(|ratio| *ratio >= f64::from(steady)),
            "{distances:?}"
        );
    }
    // The yardstick does the same work as the raw driver: the same messages, and so the same round trips.
    if let Some(pgbench) = contestants.iter().find(|one| one["name"] == "pgbench") {
        assert_eq!(pgbench["round_trips"]["transfer_steady"], 5, "{pgbench}");
        assert!(pgbench["one_worker"]["p50_ms"].as_f64().unwrap() > 0.0);
    }
    for driver in contestants.iter().take(3) {
        assert!(
            driver["round_trips"]["transfer_retried_once"].as_u64()
                > driver["round_trips"]["transfer_steady"].as_u64()
        );
        assert!(driver["cost"]["crates"].as_u64().unwrap() > 10);
        assert!(driver["cost"]["sample_lines"].as_u64().unwrap() > 100);
    }
    assert!(
        QUICK.schemas_left.contains("schemas: 0"),
        "{}",
        QUICK.schemas_left
    );
    assert!(
        QUICK
            .printed
            .lines()
            .all(|line| line.chars().count() <= 100),
        "{}",
        QUICK.printed
    );
}

fn schemas(cluster: &Cluster) -> String {
    cluster.execute(SCHEMAS).unwrap()
}

fn wait_for(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Starts a run and waits until it has created its schema and measures.
fn started(cluster: &Cluster, directory: &Path) -> Child {
    let mut compare = compare(directory, &cluster.url());
    let child = compare
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while schemas(cluster).contains("schemas: 0") {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(2));
    child
}

#[test]
fn ctrl_c_drops_the_schema() {
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let child = started(&cluster, directory.path());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let (status, stderr) = wait_for(child);
        assert_eq!(status, Some(130), "{stderr}");
        assert!(schemas(&cluster).contains("schemas: 0"));
    }
}

#[test]
fn a_lost_server_ends_the_run_with_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let child = started(&cluster, directory.path());
    drop(cluster);
    let (status, stderr) = wait_for(child);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(
        stderr.contains("is left behind. When the server is back: DROP SCHEMA crdb_compare_"),
        "{stderr}"
    );
    assert!(
        stderr.lines().last().unwrap().starts_with("Error: ") || stderr.contains("\nError: "),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn bad_input_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let url = "postgresql://demo:x@localhost:1/";
    let refused = |arguments: &[&str]| {
        let output = compare(directory.path(), url)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.stdout.is_empty());
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, stderr) = refused(&["--drivers", "postgres,mysql"]);
    assert!(status == Some(2) && stderr.contains("'mysql'"), "{stderr}");
    let (status, stderr) = refused(&["--workers", "0"]);
    assert!(
        status == Some(2) && stderr.contains("0 is not in 1..=64"),
        "{stderr}"
    );
    let (status, stderr) = refused(&["--report", "/proc/report.html"]);
    assert!(
        status == Some(1) && stderr.starts_with("Error: cannot write /proc/report.html"),
        "{stderr}"
    );
    let (status, stderr) = refused(&[]);
    assert!(
        status == Some(1) && stderr.starts_with("Error: could not connect to localhost:1: "),
        "{stderr}"
    );
    let ended = run("compare", directory.path(), &[]);
    assert!(
        ended.status == Some(1) && ended.stderr.starts_with("Error: DATABASE_URL is not set"),
        "{ended:?}"
    );
}

#[test]
fn the_readme_counts_crates_as_compare_does() {
    let readme = fs::read_to_string(cost::root().join("README.md")).unwrap();
    for driver in ["postgres", "diesel", "sea-orm"] {
        let crates = cost::of(driver, false)
            .unwrap()
            .crates
            .expect("cargo is at hand");
        let row = readme
            .lines()
            .find(|line| line.contains(&format!("](examples/{driver}/README.md) | ")))
            .unwrap();
        let cell = row.split('|').nth(3).unwrap().trim();
        assert_eq!(cell.split(',').next().unwrap(), crates.to_string(), "{row}");
    }
}
