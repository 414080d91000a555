//! The cost of a driver as a dependency: crates, lines of code, build time and binary size.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::figures::Cost;

/// Returns the root of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a driver's package that users copy, in reading order, each with its title in the report.
pub const FILES: [(&str, &str); 4] = [
    ("Connect", "src/connect.rs"),
    ("The basic sample", "basic.rs"),
    ("The transfer sample", "transfer.rs"),
    ("The retry function", "src/transaction.rs"),
];

/// Returns the text of one of [`FILES`].
///
/// # Errors
///
/// Returns an error if the repository is no longer where this program was built.
pub fn source(driver: &str, file: &str) -> Result<String> {
    let path = root().join("examples").join(driver).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Counts crates and lines. With `build` also builds the transfer sample from scratch.
///
/// # Errors
///
/// Returns an error if a source file cannot be read or the build fails.
pub fn of(driver: &str, build: bool) -> Result<Cost> {
    let mut sample_lines = 0;
    for (_, file) in FILES {
        let text = source(driver, file)?;
        let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        sample_lines += text.lines().filter(code).count();
    }
    let (build_seconds, binary_bytes) = if build {
        let (seconds, bytes) = build_from_scratch(driver)?;
        (Some(seconds), Some(bytes))
    } else {
        (None, None)
    };
    Ok(Cost {
        crates: crates(driver),
        sample_lines,
        build_seconds,
        binary_bytes,
    })
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Counts the driver's dependencies with `cargo tree`. Returns `None` if cargo is missing or fails.
fn crates(driver: &str) -> Option<usize> {
    let package = format!("crdb-{driver}");
    let arguments = [
        "tree",
        "--package",
        &package,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let output = cargo()
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let names: BTreeSet<&str> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    // This workspace's own packages are not dependencies.
    Some(
        names
            .iter()
            .filter(|name| !name.starts_with("crdb-"))
            .count(),
    )
}

fn build_from_scratch(driver: &str) -> Result<(f64, u64)> {
    let target = tempfile::tempdir()?;
    let example = format!("{driver}-transfer");
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--quiet",
        "--package",
        &format!("crdb-{driver}"),
        "--example",
        &example,
    ]);
    build
        .args(["--config", "profile.release.strip=true", "--target-dir"])
        .arg(target.path());
    let begin = Instant::now();
    if !build.status().context("cannot run cargo")?.success() {
        bail!("{example} does not build");
    }
    let seconds = begin.elapsed().as_secs_f64();
    let binary = target.path().join("release/examples").join(example);
    Ok((seconds, fs::metadata(binary)?.len()))
}

/// Returns the versions of the drivers and their foundations, from Cargo.lock.
///
/// # Errors
///
/// Returns an error if Cargo.lock cannot be read.
pub fn versions() -> Result<Vec<(String, String)>> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let version = |name: &str| {
        let at = lock.find(&format!("name = \"{name}\"\n"))?;
        lock[at..]
            .lines()
            .nth(1)?
            .strip_prefix("version = \"")?
            .strip_suffix('"')
            .map(str::to_owned)
    };
    let names = [
        "postgres",
        "tokio-postgres",
        "deadpool",
        "diesel",
        "pq-src",
        "sea-orm",
        "sqlx",
        "openssl",
    ];
    Ok(names
        .iter()
        .filter_map(|name| Some((name.to_string(), version(name)?)))
        .collect())
}
