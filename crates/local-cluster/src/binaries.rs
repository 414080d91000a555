//! Finds the programs of CockroachDB and PostgreSQL.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, bail};
use glob::glob;

/// The directories where distributions install PostgreSQL; `*` is a version.
const POSTGRES_DIRECTORIES: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/usr/local/pgsql/bin",
];

/// Returns the absolute path of the `cockroach` binary: the one that `$COCKROACH` names, else the
/// one on `PATH`, else the one that `scripts/setup --cockroach` has downloaded.
pub fn cockroach() -> Result<Option<PathBuf>> {
    let Some(named) = variable("COCKROACH") else {
        return Ok(on_path("cockroach").or_else(downloaded));
    };
    let path = path::absolute(named)?;
    if !path.is_file() {
        bail!("there is no file {}, which COCKROACH names", path.display());
    }
    Ok(Some(path))
}

/// Returns the directory with `postgres`, `initdb` and `psql`.
pub fn postgres() -> Result<PathBuf> {
    // A symbolic link such as /usr/local/bin/postgres points to the directory with all programs.
    let linked = on_path("postgres").and_then(|path| fs::canonicalize(path).ok());
    let linked = linked.and_then(|path| path.parent().map(Path::to_owned));
    let installed = POSTGRES_DIRECTORIES.into_iter().flat_map(newest_first);
    let mut directories = linked.into_iter().chain(installed);
    let found = directories.find(|directory| directory.join("postgres").is_file());
    found.context(
        "no server found: run scripts/setup --local-cluster, which installs PostgreSQL, or \
             scripts/setup --cockroach, which downloads CockroachDB",
    )
}

fn downloaded() -> Option<PathBuf> {
    let default = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    let home = || Some(PathBuf::from(variable("HOME")?).join(default));
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Some(cache?.join("crdb-samples/cockroach")).filter(|binary| binary.is_file())
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .filter_map(|directory| path::absolute(directory.join(program)).ok())
        .find(|candidate| candidate.is_file())
}

/// Returns the directories that match a pattern, in the reverse order of their names: the versions
/// of PostgreSQL that are supported have two digits.
fn newest_first(pattern: &str) -> impl Iterator<Item = PathBuf> {
    let directories: Vec<_> = glob(pattern).into_iter().flatten().flatten().collect();
    directories.into_iter().rev()
}
