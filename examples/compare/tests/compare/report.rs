//! The report, in a real browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crdb_compare::contestant::DRIVERS;
use crdb_compare::cost::{FILES, source};
use serde_json::{Value, json};

use crate::QUICK;

/// Runs in the page: uses its controls, and posts what is visible to the frame around it.
const LOOK: &str = r#"<script>
addEventListener("load", async () => {
  let copied = null;
  Object.defineProperty(navigator, "clipboard", { value: { writeText: async text => { copied = text; } } });
  const code = document.querySelectorAll(".code");
  code[4].querySelector("button").click();
  await new Promise(done => setTimeout(done, 50));
  const charts = [...document.querySelectorAll(".chart")];
  const visible = () => [...code].filter(one => one.offsetParent).map(one => one.querySelector("pre").dataset.file);
  const tabs = [...document.querySelectorAll(".tabs input")];
  const first = visible();
  tabs.at(-1).click();
  const last = visible();
  tabs[0].click();
  const seen = {
    errors: window.seenErrors,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    verdict: [...document.querySelectorAll(".verdict p")].map(sentence => sentence.textContent),
    charts: charts.map(chart => chart.querySelectorAll(".bar").length),
    lefts: new Set(charts.map(chart => chart.getBoundingClientRect().left)).size,
    crowded: [...document.querySelectorAll(".chart tr")].filter(row => {
      const [name, bar, value] = row.querySelectorAll("th, .bar, .value");
      return name.scrollWidth > name.clientWidth || bar.getBoundingClientRect().width < 1
        || value.getBoundingClientRect().left + value.scrollWidth > row.getBoundingClientRect().right;
    }).map(row => row.textContent),
    tabs: tabs.filter(tab => tab.parentElement.offsetParent).map(tab => tab.parentElement.textContent),
    first,
    last,
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

/// Opens the page in a frame: the browser's own window cannot be as narrow as a phone.
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
    let figures = fs::read_to_string(QUICK.directory.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_str(&figures).unwrap();
    let drivers: Vec<&str> = DRIVERS.iter().map(|driver| driver.name).collect();
    for width in [1400, 390] {
        let seen = look_at(&page, width);
        assert_eq!(seen["width"], width);
        assert_eq!(seen["errors"], json!([]));
        assert_eq!(seen["requests"], json!([]), "the page needs no network");
        assert_eq!(
            seen["charts"],
            bars(&figures),
            "round trips, distance, one worker, contention"
        );
        assert_eq!(seen["crowded"], json!([]), "names, bars and values fit");
        let columns = if width == 1400 { 2 } else { 1 };
        assert_eq!(seen["lefts"], columns, "the cards' columns");
        let sentences = seen["verdict"].as_array().unwrap();
        assert_eq!(sentences.len(), 3, "{sentences:?}");
        let first = sentences[0].as_str().unwrap();
        assert!(first.starts_with("At 50 ms distance a transfer takes "));

        let files = strings(&seen["files"]);
        for (file, text) in files.iter().zip(strings(&seen["texts"])) {
            let (driver, file) = file["examples/".len()..].split_once('/').unwrap();
            assert_eq!(text, source(driver, file).unwrap(), "{driver} {file}");
        }
        assert_eq!(files.len(), FILES.len() * drivers.len());
        // A wide window shows all drivers, a narrow one the chosen driver.
        let of = |driver: &str| -> Vec<String> {
            let path = |(_, file): (&str, &str)| format!("examples/{driver}/{file}");
            FILES.map(path).to_vec()
        };
        if width == 1400 {
            assert_eq!(seen["tabs"], json!([]));
            assert_eq!(seen["first"], seen["files"]);
            assert_eq!(seen["last"], seen["files"]);
        } else {
            assert_eq!(strings(&seen["tabs"]), drivers);
            assert_eq!(strings(&seen["first"]), of(drivers[0]));
            assert_eq!(strings(&seen["last"]), of(drivers[drivers.len() - 1]));
        }
        assert_eq!(seen["copied"], seen["texts"][4], "the button's own column");
        assert!(
            seen["overflow"].as_i64().unwrap() <= 0,
            "{} px too wide at {width}",
            seen["overflow"]
        );
    }
}

/// The number of bars in each chart: one for each figure that was measured.
fn bars(figures: &Value) -> Value {
    let contestants = figures["contestants"].as_array().unwrap();
    let count = |pointer: &str| {
        let measured = |one: &&Value| one.pointer(pointer).is_some_and(|figure| !figure.is_null());
        contestants.iter().filter(measured).count()
    };
    json!([
        count("/round_trips/connect")
            + count("/round_trips/transfer_first")
            + count("/round_trips/transfer_steady"),
        count("/distance/0") + count("/distance/1") + count("/distance/2"),
        3 * count("/one_worker"),
        3 * count("/contention"),
    ])
}

fn strings(array: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    array.as_array().unwrap().iter().map(text).collect()
}
