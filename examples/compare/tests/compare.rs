//! The `compare` example, run as a user runs it.

mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crdb_compare::cost::source;
use crdb_local_cluster::{Cluster, Kind, Security};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sample::{example, run};
use serde_json::Value;

/// One quick run, for all tests that look at its results.
struct Quick {
    directory: tempfile::TempDir,
    printed: String,
    schemas_left: String,
}

const SCHEMAS: &str = "SELECT 'schemas: ' || count(*)::TEXT FROM information_schema.schemata \
                       WHERE schema_name LIKE 'crdb_compare%'";

static QUICK: LazyLock<Quick> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let cluster =
        Cluster::start_as(*Kind::to_test_on().unwrap().last().unwrap(), Security::Good).unwrap();
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
    for (measured, steady) in figures["contestants"]
        .as_array()
        .unwrap()
        .iter()
        .zip([5, 5, 8, 1])
    {
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
    for driver in figures["contestants"].as_array().unwrap().iter().take(3) {
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

/// Starts it and waits until it has its schema and measures.
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
    for kind in Kind::to_test_on().unwrap() {
        let cluster = Cluster::start_as(kind, Security::Good).unwrap();
        let child = started(&cluster, directory.path());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let (status, stderr) = wait_for(child);
        assert_eq!(status, Some(130), "{stderr}");
        assert!(schemas(&cluster).contains("schemas: 0"));
    }
}

#[test]
fn a_server_that_goes_away_is_told_in_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres, Security::Good).unwrap();
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

/// Looks at the page from within and tells the frame around it what it sees.
const LOOK: &str = r#"<script>
addEventListener("load", async () => {
  let copied = null;
  Object.defineProperty(navigator, "clipboard", { value: { writeText: async text => { copied = text; } } });
  const code = document.querySelectorAll(".code");
  code[4].querySelector("button").click();
  await new Promise(done => setTimeout(done, 50));
  const seen = {
    errors: window.seenErrors,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    charts: [...document.querySelectorAll("svg")].map(svg => svg.querySelectorAll("rect").length),
    files: [...code].map(one => one.querySelector("pre").dataset.file),
    texts: [...code].map(one => one.querySelector("pre").textContent),
    copied,
    overflow: document.documentElement.scrollWidth - innerWidth,
    width: innerWidth,
  };
  parent.postMessage(btoa(unescape(encodeURIComponent(JSON.stringify(seen)))), "*");
});
</script>"#;
const LISTEN: &str = "<script>window.seenErrors = []; addEventListener('error', e => seenErrors.push(e.message)); \
                      console.error = (...all) => seenErrors.push(all.join(' '));</script>";

/// In a frame, because the browser's own window cannot be made as narrow as a phone.
fn look_at(page: &Path, width: u32) -> Value {
    let frame = page.with_file_name("frame.html");
    let listener =
        "addEventListener('message', e => document.body.innerHTML = `<output>${e.data}</output>`)";
    let inner = format!(
        "<iframe src='file://{}' style='border:0;width:{width}px;height:900px'>",
        page.display()
    );
    fs::write(
        &frame,
        format!("<body><script>{listener}</script>{inner}</iframe></body>"),
    )
    .unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", frame.display()))
        .stderr(Stdio::null())
        .output()
        .expect("chromium runs: scripts/setup --for-tests installs it");
    let dom = String::from_utf8(output.stdout).unwrap();
    let encoded = dom
        .split("<output>")
        .nth(1)
        .and_then(|rest| rest.split("</output>").next())
        .expect("the page ran");
    serde_json::from_slice(&openssl::base64::decode_block(encoded).unwrap()).unwrap()
}

#[test]
fn the_report_is_whole_in_a_real_browser() {
    let report =
        fs::read_to_string(QUICK.directory.path().join("target/compare/report.html")).unwrap();
    let page: PathBuf = QUICK.directory.path().join("looked-at.html");
    let watched = report
        .replacen("<head>", &format!("<head>{LISTEN}"), 1)
        .replacen("</body>", &format!("{LOOK}</body>"), 1);
    fs::write(&page, watched).unwrap();
    for width in [1400, 390] {
        let seen = look_at(&page, width);
        assert_eq!(seen["width"], width);
        assert_eq!(seen["errors"], Value::Array(vec![]), "{}", seen["errors"]);
        assert_eq!(
            seen["requests"],
            Value::Array(vec![]),
            "nothing leaves the page"
        );
        let marks: Vec<u64> = seen["charts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .collect();
        assert_eq!(marks, [4, 12, 8, 12], "bars of the four charts");
        let files = seen["files"].as_array().unwrap();
        assert_eq!(
            files.len(),
            12,
            "connect, basic, transfer and the retry function of three drivers"
        );
        for (file, text) in files.iter().zip(seen["texts"].as_array().unwrap()) {
            let path = file.as_str().unwrap().strip_prefix("examples/").unwrap();
            let (driver, file) = path.split_once('/').unwrap();
            assert_eq!(
                text.as_str().unwrap(),
                source(driver, file).unwrap(),
                "{driver} {file}"
            );
        }
        assert_eq!(
            seen["copied"], seen["texts"][4],
            "the button copies its column"
        );
        assert!(
            seen["overflow"].as_i64().unwrap() <= 0,
            "{} px too wide at {width}",
            seen["overflow"]
        );
    }
}
