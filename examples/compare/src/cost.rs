//! What it costs to take a driver on: crates, lines, build time and size.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::figures::Cost;

/// The root of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files that somebody copies of a driver's package, in the order in which they are read.
pub const FILES: [(&str, &str); 4] = [
    ("connect", "src/connect.rs"),
    ("basic", "basic.rs"),
    ("transfer", "transfer.rs"),
    ("the retry function", "src/transaction.rs"),
];

/// The text of one of these files.
///
/// # Errors
///
/// The repository is not where this was built.
pub fn source(driver: &str, file: &str) -> Result<String> {
    let path = root().join("examples").join(driver).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Counts, and with `build` also builds from nothing.
///
/// # Errors
///
/// The sources cannot be read, or the build fails.
pub fn of(driver: &str, build: bool) -> Result<Cost> {
    let mut sample_lines = 0;
    for (_, file) in FILES {
        let text = source(driver, file)?;
        let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        sample_lines += text.lines().filter(code).count();
    }
    let (build_seconds, binary_bytes) = match build {
        true => build_from_nothing(driver).map(|(seconds, bytes)| (Some(seconds), Some(bytes)))?,
        false => (None, None),
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

/// `None` where there is no cargo at hand.
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
    // Not counting ourselves.
    Some(
        names
            .iter()
            .filter(|name| !name.starts_with("crdb-"))
            .count(),
    )
}

fn build_from_nothing(driver: &str) -> Result<(f64, u64)> {
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

/// The versions of the drivers, from Cargo.lock.
///
/// # Errors
///
/// It cannot be read.
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
    let names = ["postgres", "diesel", "pq-src", "sea-orm", "sqlx", "openssl"];
    Ok(names
        .iter()
        .filter_map(|name| Some((name.to_string(), version(name)?)))
        .collect())
}
