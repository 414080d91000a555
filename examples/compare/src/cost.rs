//! What a driver costs to have: crates, lines, and with `--build` the time of a build.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::progress::check_stopped;
use crate::samples::{read, root};

/// Returns the figures that need no build, with their names: the crates that Cargo compiles for the
/// driver's package besides this repository's, and the lines of code of its files.
pub fn sizes(driver: &str) -> Result<[(&'static str, f64); 3]> {
    let mut tree = cargo(&root(), "tree", &format!("crdb-{driver}"));
    tree.args(["--locked", "--prefix=none", "--format={p}"]);
    tree.arg("--edges=normal,build");
    let tree = tree.output()?;
    let message = String::from_utf8_lossy(&tree.stderr);
    let message = message.lines().next().unwrap_or_default();
    ensure!(tree.status.success(), "{message}");
    let tree = String::from_utf8(tree.stdout)?;
    let crates = tree.lines().filter(|line| !line.starts_with("crdb-"));
    let name_and_version = |line| str::split(line, ' ').take(2).collect::<Vec<_>>();
    let crates: BTreeSet<_> = crates.map(name_and_version).collect();
    let lines = |file| -> Result<f64> {
        let text = read(&format!("examples/{driver}/{file}"))?;
        let lines = text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        Ok(code.count() as f64)
    };
    Ok([
        ("crates", crates.len() as f64),
        ("transfer_lines", lines("transfer.rs")?),
        ("transaction_lines", lines("src/transaction.rs")?),
    ])
}

/// A copy of the sources, so that no file of the repository is touched.
pub struct Sources(TempDir);

impl Sources {
    /// Copies the sources.
    pub fn copy() -> Result<Sources> {
        let copy = tempfile::tempdir()?;
        let mut cp = Command::new("cp");
        cp.args([
            "-R",
            "Cargo.toml",
            "Cargo.lock",
            ".cargo",
            "crates",
            "examples",
        ]);
        succeed(cp.arg(copy.path()).current_dir(root()))?;
        Ok(Sources(copy))
    }

    /// Builds a driver's transfer sample in release mode: from nothing, and after a changed line.
    /// Returns the figures with their names; the binary's size is without symbols.
    pub fn build(&self, driver: &str) -> Result<[(&'static str, f64); 3]> {
        let target = tempfile::tempdir()?;
        let directory = self.0.path().join("examples").join(driver);
        // Only tests use it, and cargo would compile it for the sample too.
        let manifest = fs::read_to_string(directory.join("Cargo.toml"))?;
        let manifest = manifest.replace("crdb-local-cluster.workspace = true\n", "");
        fs::write(directory.join("Cargo.toml"), manifest)?;
        let (package, sample) = (format!("crdb-{driver}"), format!("{driver}-transfer"));
        let build = || {
            let mut build = cargo(self.0.path(), "build", &package);
            build.args(["--quiet", "--release", "--example", &sample]);
            build.args(["--config", "profile.release.strip=true"]);
            build.env("CARGO_TARGET_DIR", target.path());
            let begin = Instant::now();
            succeed(&mut build)?;
            anyhow::Ok(begin.elapsed().as_secs_f64())
        };
        // Crates that are missing are downloaded before the time begins.
        succeed(cargo(self.0.path(), "tree", &package).stdout(Stdio::null()))?;
        let clean_s = build()?;
        let file = directory.join("transfer.rs");
        let source = fs::read_to_string(&file)?.replacen("fn main", "// Changed.\nfn main", 1);
        fs::write(file, source)?;
        let rebuild_s = build()?;
        let binary = fs::metadata(target.path().join("release/examples").join(&sample))?;
        Ok([
            ("build_s", clean_s),
            ("rebuild_s", rebuild_s),
            ("binary_mb", binary.len() as f64 / 1e6),
        ])
    }
}

fn cargo(directory: &Path, command: &str, package: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args([command, "--package", package]);
    // A cache would hide the time.
    cargo.current_dir(directory).env_remove("RUSTC_WRAPPER");
    cargo
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().context("cannot run a command")?;
    check_stopped()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
