//! `scripts/setup --cockroach`, with a stand-in for what it downloads.

use std::path::Path;
use std::process::Command;

/// `publish VERSION` makes an archive with the vendor's sum beside it, and a copy of scripts/setup that
/// names this version and the sum of the archive. `download` runs the copy.
const COMMANDS: &str = r#"
publish() {
    name=cockroach-$1.linux-amd64
    mkdir -p bin scripts "$name"
    printf '#!/bin/sh\necho Linux x86_64\n' >bin/uname
    printf '#!/bin/sh\necho %s\n' "$1" >"$name/cockroach"
    chmod +x bin/uname "$name/cockroach"
    tar -czf "$name.tgz" "$name"
    sum=$({ sha256sum 2>/dev/null || shasum -a 256; } <"$name.tgz" | cut -c -64)
    echo "$sum  $name.tgz" >"$name.tgz.sha256sum"
    sed "s/^pinned=.*/pinned=$1/; s/expected=[0-9a-f]\{64\}/expected=$sum/" "$SETUP" >scripts/setup
}
download() { bash scripts/setup --cockroach "$@"; }
"#;

/// Runs commands. Returns whether they succeed, and what they print.
fn sh(directory: &Path, commands: &str) -> (bool, String) {
    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/setup");
    let path = format!("{}:/usr/bin:/bin", directory.join("bin").display());
    let downloads = format!("file://{}", directory.display());
    let output = Command::new("bash")
        .args(["-ec", &format!("{COMMANDS}\n{commands}")])
        .current_dir(directory)
        .env("SETUP", setup)
        .env("LOCAL_CLUSTER", env!("CARGO_BIN_EXE_local-cluster"))
        .env("PATH", path)
        .env("XDG_CACHE_HOME", directory.join("cache"))
        .env("COCKROACH", "")
        .env("COCKROACH_DOWNLOADS", downloads)
        .output();
    let output = output.expect("bash can be run");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn cockroachdb_is_downloaded_once_and_a_download_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let arm = "echo 'echo Linux aarch64' >bin/uname; mv *.tgz cockroach-v1.0.0.linux-arm64.tgz";
    for (change, words) in [
        ("rm *.tgz", "Cannot download file:"),
        ("head -c 99 *.tgz >part; mv part *.tgz", "or is cut off"),
        (arm, "linux-arm64.tgz.sha256sum"),
        ("echo 'echo Plan9' >bin/uname", "no CockroachDB for Plan9"),
        ("unset HOME XDG_CACHE_HOME", "HOME is not set"),
    ] {
        let commands = format!("publish v1.0.0; {change}; download");
        let (succeeded, printed) = sh(directory.path(), &commands);
        assert!(!succeeded && printed.contains(words), "{change}: {printed}");
        assert!(printed.contains("https://www.cockroachlabs.com/docs/stable/install-cockroachdb"));
        assert!(!directory.path().join("cache/crdb-samples").exists());
    }
    for (commands, words) in [
        ("publish v1.0.0; download", "150 to 200 MB"),
        ("$LOCAL_CLUSTER servers", "and CockroachDB v1.0.0\n"),
        ("rm *.tgz; download", "is already there"),
        ("publish v1.2.0; download", "sum is pinned in scripts/setup"),
        ("rm -r cache; publish v1.3.0", ""),
        ("download v1.2.0", "sum is the vendor's, file://"),
        ("$LOCAL_CLUSTER servers", "and CockroachDB v1.2.0\n"),
        ("! download ../v1.2.0", "Usage: "),
    ] {
        let (succeeded, printed) = sh(directory.path(), commands);
        let is_right = succeeded && printed.contains(words);
        assert!(is_right, "{commands}: {printed}");
    }
}
