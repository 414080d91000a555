//! The report, in a real browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crdb_compare::cost::source;
use serde_json::Value;

use crate::QUICK;

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
    // With pgbench, where it is installed.
    let figures = fs::read_to_string(QUICK.directory.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_str(&figures).unwrap();
    let one_worker = figures["contestants"].as_array().unwrap().len() as u64;
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
        assert_eq!(marks, [4, 3 * one_worker, 8, 12], "bars of the four charts");
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
