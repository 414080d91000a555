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

    fn figures(&self) -> Value {
        serde_json::from_str(&self.read("figures.json")).unwrap()
    }

    fn contestants(&self) -> Vec<Value> {
        serde_json::from_value(self.figures()["contestants"].take()).unwrap()
    }
}

static QUICK: LazyLock<Quick> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(*Kind::available().unwrap().last().unwrap()).unwrap();
    // Of several hosts, all drivers use the first one that accepts a connection.
    let url = cluster
        .url()
        .replace("@localhost:", "@localhost:1,localhost:");
    let mut compare = compare(directory.path(), &url);
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
    command.env_remove("CARGO_TARGET_DIR");
    command
}

#[test]
fn a_quick_run_measures_everything_and_leaves_nothing_behind() {
    let contestants = QUICK.contestants();
    let names = contestants.iter().map(|one| one["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    let (drivers, yardsticks) = names.split_at(DRIVERS.len());
    assert!(DRIVERS.iter().map(|driver| &driver.name).eq(drivers));
    assert_eq!(yardsticks, ["one statement", "pgbench"]);
    // pgbench sends the same messages as the postgres sample.
    let further = DRIVERS.iter().map(|driver| driver.round_trips.transfer);
    let further = further.chain([1, DRIVERS[0].round_trips.transfer]);
    for (measured, further) in contestants.iter().zip(further) {
        let name = measured["name"].as_str().unwrap();
        let figures = measured["figures"].as_object().unwrap();
        for (figure, values) in figures {
            let numbers =
                ["smallest", "median", "largest"].map(|key| values[key].as_f64().unwrap());
            assert!(numbers.is_sorted(), "{name}: {figure}: {values}");
            let may_be_zero =
                figure.ends_with("retries_per_transfer") || figure.ends_with("percent");
            assert!(
                numbers[0] > 0.0 || may_be_zero,
                "{name}: {figure}: {values}"
            );
        }
        let further = further as f64;
        assert_eq!(figures["round_trips.further"]["median"], further, "{name}");
        // A pool may make one of the round trips after the transfer.
        if let Some(distance) = figures.get("distance_50_ms.p50_ms") {
            let round_trips = distance["median"].as_f64().unwrap() / 50.0;
            assert!(round_trips + 1.0 >= further, "{name}: {distance}");
        }
        let count = |part| figures.keys().filter(|name| name.starts_with(part)).count();
        let parts = ["distance_", "workers_1.", "workers_8.", "service.", "cost."].map(count);
        // Yardsticks have no rows and no cost; only asynchronous drivers have the runtime of a service.
        let has_pool = DRIVERS
            .iter()
            .any(|driver| driver.name == name && driver.has_pool);
        let expected = match name {
            "one statement" => [3, 10, 7, 0, 0],
            "pgbench" => [0, 2, 0, 0, 0],
            _ => [3, 12, 7, if has_pool { 10 } else { 0 }, 3],
        };
        assert_eq!(parts, expected, "{name}");
    }
    assert_eq!(QUICK.figures()["balances_conserved"], true);
    assert!(QUICK.schemas_left.contains("schemas: 0"));
    let tables = QUICK.printed.lines().filter(|line| line.starts_with('│'));
    let widths = tables.map(|line| line.chars().count());
    let widest = widths.max().unwrap();
    assert!((60..=100).contains(&widest), "{}", QUICK.printed);
}

#[test]
fn a_report_is_drawn_again_from_its_figures_without_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let draw = |json: &str| {
        fs::write(directory.path().join("figures.json"), json).unwrap();
        let mut compare = compare(directory.path(), "postgresql://demo:x@localhost:1/");
        compare.args(["--from", "figures.json", "--report", "report.html"]);
        compare.output().unwrap()
    };
    let json = QUICK.read("figures.json");
    let drawn = draw(&json);
    let printed = String::from_utf8(drawn.stdout).unwrap();
    let path = ["target/compare/report.html", "report.html"];
    assert_eq!(printed, QUICK.printed.replace(path[0], path[1]));
    let report = fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert_eq!(report, QUICK.read("target/compare/report.html"));

    let other = json.replacen("\"format\":1", "\"format\":9", 1);
    let text = "Error: cannot draw figures.json: it has the format 9, and this version";
    assert_ended(draw(&other), 1, text);
    assert_ended(draw("[]"), 1, "Error: cannot draw figures.json: ");
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
fn what_cannot_be_measured_is_left_out_and_the_run_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    // Before a server at an IPv6 address there is no relay.
    let url = cluster.url().replace("@localhost:", "@[::1]:");
    let mut compare = compare(directory.path(), &url);
    compare.args(["--quick", "--drivers", "postgres", "--workers", "2"]);
    compare.envs([("PATH", "/nonexistent"), ("CARGO_TARGET_DIR", "elsewhere")]);
    let output = compare.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let left_out = [
        "round trips and distance: the server is not on localhost",
        "what a driver costs to have: error: could not execute process `rustc -vV` (never executed)",
        "the time of a build and the size of the binary: they need --build",
        "pgbench: it is not installed",
    ];
    let found = printed
        .lines()
        .filter_map(|line| line.strip_prefix("Left out: "));
    assert_eq!(found.collect::<Vec<_>>(), left_out);
    let report = directory.path().join("elsewhere/compare/report.html");
    let report = fs::read_to_string(report).unwrap();
    assert_eq!(report.matches("<figure").count(), 5);
    assert_eq!(report.matches("<dt>Left out</dt>").count(), 4);
    assert!(report.contains("<dt>Server</dt><dd>PostgreSQL") && report.contains(", at [::1]:"));
}

#[test]
fn bad_input_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], status: i32, text: &str| {
        let mut compare = compare(directory.path(), "postgresql://demo:x@localhost:1/");
        assert_ended(compare.args(arguments).output().unwrap(), status, text);
    };
    refused(&["--drivers", "postgres,mysql"], 2, "'mysql'");
    refused(&["--workers", "3"], 2, "write 2, 4, 8, 16 or 32");
    let report = ["--report", "/proc/report.html"];
    refused(&report, 1, "Error: cannot write /proc/report.html");
    refused(&[], 1, "Error: could not connect to localhost:1: ");
    let message = "Error: DATABASE_URL is not set";
    let from = ["--from", "figures.json", "--quick"];
    refused(&from, 2, "cannot be used with '--quick'");
    run_failing("compare", directory.path(), &[], message);
}
