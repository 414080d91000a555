//! `scripts/setup --cockroach`, with a stand-in for what it downloads.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Makes an archive of the version `$1` with the vendor's sum beside it, and a copy of scripts/setup,
/// `$2`, that names this version and the sum of the archive.
const PUBLISH: &str = r#"
name=cockroach-$1.linux-amd64
mkdir -p bin scripts "$name"
printf '#!/bin/sh\necho Linux x86_64\n' >bin/uname
printf '#!/bin/sh\necho %s\n' "$1" >"$name/cockroach"
chmod +x bin/uname "$name/cockroach"
tar -czf "$name.tgz" "$name"
sum=$({ sha256sum 2>/dev/null || shasum -a 256; } <"$name.tgz" | cut -c -64)
echo "$sum  $name.tgz" >"$name.tgz.sha256sum"
sed "s/^pinned=.*/pinned=$1/; s/expected=[0-9a-f]\{64\}/expected=$sum/" "$2" >scripts/setup
"#;

fn sh(directory: &Path, script: &str, arguments: &[&str]) -> Output {
    let path = format!("{}:/usr/bin:/bin", directory.join("bin").display());
    let downloads = format!("file://{}", directory.display());
    let output = Command::new("bash")
        .args(["-ec", script, "bash"])
        .args(arguments)
        .current_dir(directory)
        .env("PATH", path)
        .env("XDG_CACHE_HOME", directory.join("cache"))
        .env("COCKROACH", "")
        .env("COCKROACH_DOWNLOADS", downloads)
        .output();
    output.expect("bash can be run")
}

fn publish(directory: &Path, version: &str) {
    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/setup");
    assert!(sh(directory, PUBLISH, &[version, setup]).status.success());
}

/// Returns a directory with version 1.0.0.
fn published() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    publish(directory.path(), "v1.0.0");
    directory
}

/// Returns whether the download succeeds, and what it prints.
fn download(directory: &Path) -> (bool, String) {
    download_version(directory, &[])
}

fn download_version(directory: &Path, version: &[&str]) -> (bool, String) {
    let output = sh(directory, "bash scripts/setup --cockroach \"$@\"", version);
    (
        output.status.success(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn cockroachdb_is_downloaded_once_and_local_cluster_finds_it() {
    let directory = published();
    let found = || {
        let output = sh(
            directory.path(),
            "$1 servers",
            &[env!("CARGO_BIN_EXE_local-cluster")],
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!found().contains("CockroachDB"));
    let (succeeded, printed) = download(directory.path());
    let pinned = "Its SHA-256 sum is pinned in scripts/setup";
    let says = ["150 to 200 MB", "CockroachDB's own licence", pinned];
    assert!(
        succeeded && says.iter().all(|words| printed.contains(words)),
        "{printed}"
    );
    assert!(found().ends_with("and CockroachDB v1.0.0\n"));

    sh(directory.path(), "rm *.tgz", &[]);
    let (succeeded, printed) = download(directory.path());
    assert!(
        succeeded && printed.contains("is already there"),
        "{printed}"
    );

    publish(directory.path(), "v1.0.1");
    assert!(download(directory.path()).0);
    assert!(found().ends_with("and CockroachDB v1.0.1\n"));

    publish(directory.path(), "v1.2.0");
    publish(directory.path(), "v1.3.0");
    let (succeeded, printed) = download_version(directory.path(), &["v1.2.0"]);
    let vendors = "Its SHA-256 sum is the vendor's, file://";
    assert!(succeeded && printed.contains(vendors), "{printed}");
    assert!(found().ends_with("and CockroachDB v1.2.0\n"));
    let (succeeded, printed) = download_version(directory.path(), &["../v1.2.0"]);
    assert!(!succeeded && printed.starts_with("Usage: "), "{printed}");
}

#[test]
fn a_download_that_fails_leaves_nothing_and_says_what_to_do() {
    let no_sum = "rm *.sha256sum; for f in *.tgz; do mv $f ${f/amd64/arm64}; done;
        echo 'echo Linux aarch64' >bin/uname";
    for (change, words) in [
        ("rm *.tgz", "Cannot download file:"),
        ("head -c 99 *.tgz >part; mv part *.tgz", "or is cut off"),
        (
            "echo 'Log in first' >$(echo *.tgz)",
            "is not CockroachDB v1.0.0",
        ),
        (no_sum, "linux-arm64.tgz.sha256sum"),
        (
            "echo 'echo Plan9 mips' >bin/uname",
            "no CockroachDB for Plan9",
        ),
        (
            "(echo unset HOME XDG_CACHE_HOME; cat scripts/setup) >new; mv new scripts/setup",
            "HOME is not set",
        ),
    ] {
        let directory = published();
        assert!(
            sh(directory.path(), change, &[]).status.success(),
            "{change}"
        );
        let (succeeded, printed) = download(directory.path());
        assert!(!succeeded && printed.contains(words), "{change}: {printed}");
        assert!(printed.contains("https://www.cockroachlabs.com/docs/stable/install-cockroachdb"));
        assert!(
            !directory.path().join("cache/crdb-samples").exists(),
            "{change}"
        );
    }
}
