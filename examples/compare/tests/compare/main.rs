//! The `compare` example, run as a user runs it.

mod report;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crdb_conformance::DRIVERS;
use crdb_conformance::sample::{example, run_failing};
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

impl Quick {
    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join(file)).unwrap()
    }

    fn contestants(&self) -> Vec<Value> {
        let mut figures: Value = serde_json::from_str(&self.read("figures.json")).unwrap();
        serde_json::from_value(figures["contestants"].take()).unwrap()
    }
}

static QUICK: LazyLock<Quick> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(*Kind::available().unwrap().last().unwrap()).unwrap();
    let mut compare = compare(directory.path(), &cluster.url());
    let output = compare
        .args(["--quick", "--json", "figures.json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    Quick {
        directory,
        printed: String::from_utf8(output.stdout).unwrap(),
        schemas_left: schemas(&cluster),
    }
});

fn compare(directory: &Path, url: &str) -> Command {
    let mut command = Command::new(example("compare"));
    command.current_dir(directory).env("DATABASE_URL", url);
    command
}

#[test]
fn a_quick_run_measures_everything_and_leaves_nothing_behind() {
    let contestants = QUICK.contestants();
    let names = contestants.iter().map(|one| one["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    let (drivers, yardsticks) = names.split_at(DRIVERS.len());
    assert!(DRIVERS.iter().map(|driver| &driver.name).eq(drivers));
    assert_eq!(yardsticks[0], "one statement");
    let number = |value: &Value| value.as_f64().unwrap();
    let steady = DRIVERS.iter().map(|driver| driver.round_trips.transfer);
    for (measured, steady) in contestants.iter().zip(steady.chain([1])) {
        let round_trips = &measured["round_trips"];
        assert_eq!(round_trips["transfer_steady"], steady, "{measured}");
        let one_worker = &measured["one_worker"];
        assert!(number(&one_worker["transfers_per_second"]) > 0.0);
        assert!(number(&one_worker["connect_further_ms"]) > 0.0);
        assert!(number(&one_worker["p99_ms"]) >= number(&one_worker["p50_ms"]));
        let contention = &measured["contention"];
        assert!(number(&contention["transfers_per_second"]) > 0.0);
        assert_eq!(contention["balances_conserved"], true);
        assert!(number(&contention["longest_ms"]) >= number(&contention["p99_ms"]));
        assert!((0.0..=1.0).contains(&number(&contention["slowest_worker_share"])));
        let clients = measured["clients"].as_array().unwrap();
        for (workers, clients) in [1, 2, 4, 8].iter().zip(clients) {
            assert_eq!(clients["workers"], *workers);
            assert!(number(&clients["transfers_per_second"]) > 0.0);
        }
        // A pool may make one of the round trips after the transfer.
        for distance in measured["distance"].as_array().unwrap() {
            let trips = number(&distance["transfer_p50_ms"]) / number(&distance["round_trip_ms"]);
            assert!(trips + 1.0 >= steady as f64, "{measured}");
        }
    }
    // The yardstick does the same work as the raw driver: the same messages, and so the same round
    // trips.
    let pgbench = contestants.iter().find(|one| one["name"] == "pgbench");
    let pgbench = pgbench.expect("PostgreSQL's packages have pgbench");
    assert_eq!(pgbench["round_trips"]["transfer_steady"], 5, "{pgbench}");
    assert!(number(&pgbench["one_worker"]["p50_ms"]) > 0.0);
    assert!(QUICK.schemas_left.contains("schemas: 0"));
    let widths = QUICK.printed.lines().map(|line| line.chars().count());
    assert!(widths.max() <= Some(100), "{}", QUICK.printed);
}

fn schemas(cluster: &Cluster) -> String {
    let sql = "SELECT 'schemas: ' || count(*)::TEXT FROM information_schema.schemata \
               WHERE schema_name LIKE 'crdb_compare%'";
    cluster.execute(sql).unwrap()
}

/// Asserts how a run ends: with this status, and with this text on standard error.
fn assert_ended(output: Output, status: i32, text: &str) {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(text), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty());
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
        assert_ended(child.wait_with_output().unwrap(), 130, "Stopped.");
        assert!(schemas(&cluster).contains("schemas: 0"));
    }
}

#[test]
fn a_lost_server_ends_the_run_with_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let child = started(&cluster, directory.path());
    drop(cluster);
    let output = child.wait_with_output().unwrap();
    let text = "is left behind. When the server is back: DROP SCHEMA crdb_compare_";
    assert_ended(output.clone(), 1, text);
    assert_ended(output, 1, "\nError: ");
}

#[test]
fn accounts_are_spread_over_ranges_only_on_cockroachdb() {
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let mut compare = compare(directory.path(), &cluster.url());
        compare.args(["--spread", "--quick", "--drivers", "postgres"]);
        let output = compare.output().unwrap();
        match kind {
            Kind::Postgres => assert_ended(output, 1, "Error: --spread needs CockroachDB"),
            Kind::Cockroach => {
                let printed = String::from_utf8(output.stdout).unwrap();
                let ranges = "Ranges: each account in a range of its own\n";
                assert!(printed.contains(ranges), "{printed}");
            }
        }
        assert!(schemas(&cluster).contains("schemas: 0"));
    }
}

#[test]
fn what_cannot_be_measured_is_left_out_and_the_run_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    // A part of what CockroachDB has.
    let crdb_internal = "CREATE SCHEMA crdb_internal; \
        CREATE TABLE crdb_internal.gossip_nodes (node_id INT8, is_live BOOL); \
        INSERT INTO crdb_internal.gossip_nodes VALUES (1, true), (2, true), (4, false); \
        GRANT USAGE ON SCHEMA crdb_internal TO PUBLIC; \
        GRANT SELECT ON crdb_internal.gossip_nodes TO PUBLIC";
    cluster.execute(crdb_internal).unwrap();
    // Before a server at an IPv6 address there is no relay.
    let url = cluster.url().replace("@localhost:", "@[::1]:");
    let mut compare = compare(directory.path(), &url);
    compare.args(["--quick", "--drivers", "postgres", "--workers", "1"]);
    let output = compare.env("PATH", "/nonexistent").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let titles = printed
        .lines()
        .filter(|line| line.starts_with(char::is_alphabetic));
    let report = directory.path().join("target/compare/report.html");
    // A line of a chart needs two points, so there is no figure against the number of workers.
    let expected = [
        "One worker",
        "Contention: 1 workers on four accounts",
        "Left out: round trips and distance: the server is not on this machine",
        "Left out: pgbench: it is not installed",
        "Report: target/compare/report.html",
    ];
    assert_eq!(titles.collect::<Vec<_>>(), expected);
    let report = fs::read_to_string(report).unwrap();
    assert_eq!(report.matches("<figure").count(), 2);
    assert_eq!(report.matches("<dt>Left out</dt>").count(), 2);
    assert!(report.contains("; live nodes: 2, at [::1]:"));
    assert!(report.contains("<dt>Server</dt><dd>PostgreSQL") && !report.contains("gateway node"));
}

#[test]
fn bad_input_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], status: i32, text: &str| {
        let mut compare = compare(directory.path(), "postgresql://demo:x@localhost:1/");
        assert_ended(compare.args(arguments).output().unwrap(), status, text);
    };
    refused(&["--drivers", "postgres,mysql"], 2, "'mysql'");
    refused(&["--workers", "0"], 2, "0 is not in 1..=64");
    let report = ["--report", "/proc/report.html"];
    refused(&report, 1, "Error: cannot write /proc/report.html");
    refused(&[], 1, "Error: could not connect to localhost:1: ");
    let message = "Error: DATABASE_URL is not set";
    run_failing("compare", directory.path(), &[], message);
}
