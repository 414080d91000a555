//! The report, in a real browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crdb_conformance::DRIVERS;
use serde_json::{Value, json};

use crate::QUICK;

/// Runs in the page: chooses a driver, and posts what is visible to the frame around it.
const LOOK: &str = include_str!("look.js");

/// Collects the errors of the page.
const LISTEN: &str = r#"<script>
window.seenErrors = [];
addEventListener("error", error => seenErrors.push(error.message));
console.error = (...all) => seenErrors.push(all.join(" "));
</script>"#;

const ARGUMENTS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --virtual-time-budget=5000 --dump-dom";

/// Opens the page in a frame: the browser's own window cannot be as narrow as a phone.
fn look_at(page: &Path, width: u32) -> Value {
    let frame = page.with_file_name("frame.html");
    let listener =
        "addEventListener('message', e => document.body.innerHTML = `<output>${e.data}</output>`)";
    let inner = format!(
        "<iframe src='file://{}' style='border:0;width:{width}px;height:900px'>",
        page.display()
    );
    let body = format!("<body><script>{listener}</script>{inner}</iframe></body>");
    fs::write(&frame, body).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(ARGUMENTS.split_whitespace())
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
    let report = QUICK.read("target/compare/report.html");
    let page: PathBuf = QUICK.directory.path().join("looked-at.html");
    let watched = report
        .replacen("<head>", &format!("<head>{LISTEN}"), 1)
        .replacen("</body>", &format!("<script>{LOOK}</script></body>"), 1);
    fs::write(&page, watched).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for width in [1400, 390] {
        let seen = look_at(&page, width);
        assert_eq!(seen["width"], width);
        assert_eq!(seen["errors"], json!([]));
        assert_eq!(seen["requests"], json!([]), "the page needs no network");
        let charts = numbers(&seen["charts"]);
        assert!(charts.len() == 8 && !charts.contains(&0), "{charts:?}");
        assert_eq!(seen["unexplained"], json!([]), "what is better");
        let ranges = numbers(&seen["ranges"]);
        assert!(ranges.iter().sum::<u64>() > 100, "{ranges:?}");
        assert_eq!(seen["crowded"], json!([]), "names, bars and values fit");
        let columns = if width == 1400 { 2 } else { 1 };
        assert_eq!(seen["lefts"], columns, "the cards' columns");
        let overflow = seen["overflow"].as_i64().unwrap();
        assert!(overflow <= 0, "{overflow} px too wide at {width}");

        let files = strings(&seen["files"]);
        assert_eq!(files.len(), 5 * DRIVERS.len());
        for (file, text) in files.iter().zip(strings(&seen["texts"])) {
            assert_eq!(text, fs::read_to_string(root.join(file)).unwrap(), "{file}");
        }
        // A wide window shows all drivers, a narrow one the chosen driver.
        let of = |driver: &str| -> Vec<&String> {
            let path = format!("examples/{driver}/");
            files
                .iter()
                .filter(|file| file.starts_with(&path))
                .collect()
        };
        if width == 1400 {
            assert_eq!(seen["tabs"], json!([]));
            assert_eq!(seen["first"], seen["files"]);
            assert_eq!(seen["last"], seen["files"]);
        } else {
            let names: Vec<&str> = DRIVERS.iter().map(|driver| driver.name).collect();
            assert_eq!(seen["tabs"], json!(names));
            assert_eq!(seen["first"], json!(of(names[0])));
            assert_eq!(seen["last"], json!(of(names[names.len() - 1])));
        }
    }
}

fn numbers(array: &Value) -> Vec<u64> {
    serde_json::from_value(array.clone()).unwrap()
}

fn strings(array: &Value) -> Vec<String> {
    serde_json::from_value(array.clone()).unwrap()
}
