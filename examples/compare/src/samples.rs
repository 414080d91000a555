//! The samples' code, and the versions of the drivers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use crdb_conformance::DRIVERS;

/// The files of a driver's package that users copy, each with its title in the report.
pub const FILES: [(&str, &str); 5] = [
    ("Connect", "src/connect.rs"),
    ("The basic sample", "basic.rs"),
    ("The transfer sample", "transfer.rs"),
    ("The retry function", "src/transaction.rs"),
    ("Many rows", "many_rows.rs"),
];

/// Returns the versions of the drivers and their foundations, from Cargo.lock.
pub fn versions() -> Result<Vec<(String, String)>> {
    let lock = read("Cargo.lock")?;
    let version = |name: &str| {
        let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        let (version, _) = package.split_once('"')?;
        Some((name.to_owned(), version.to_owned()))
    };
    let crates = DRIVERS.iter().flat_map(|driver| driver.crates).copied();
    let names: BTreeSet<&str> = crates.chain(["openssl"]).collect();
    Ok(names.into_iter().filter_map(version).collect())
}

/// Returns the text of a file of the repository in which this program was built.
pub fn read(file: &str) -> Result<String> {
    fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))
}

/// Returns the repository in which this program was built.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
