//! The files that `local-cluster start` writes: `.env`, and the directory `.local-cluster`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result};
use crdb_local_cluster::Cluster;

// These paths are relative to the current directory, which is the root of the repository.
const DIRECTORY: &str = ".local-cluster";
/// A symbolic link to the cluster's directory.
const CLUSTER: &str = ".local-cluster/cluster";
/// What `.env` contains if `start` has written it. The password is new for each cluster, so no other
/// file has this text.
const COPY: &str = ".local-cluster/env";
const DOTENV: &str = ".env";

/// The socket of the daemon. By the link its path is short enough, wherever the directory is.
pub const SOCKET: &str = ".local-cluster/cluster/control";

/// Writes the files of a cluster, but `.env` only if there is none. Returns the daemon's socket, and
/// whether `.env` was written.
pub fn write(cluster: &Cluster) -> io::Result<(UnixListener, bool)> {
    let text = format!(
        "# Written by scripts/local-cluster start; scripts/local-cluster stop removes it.\n\
         DATABASE_URL='{}'\n",
        cluster.url()
    );
    fs::create_dir_all(DIRECTORY)?;
    symlink(cluster.directory(), CLUSTER)?;
    write_new(COPY, &text)?;
    let is_written = !fs::exists(DOTENV)?;
    if is_written {
        write_new(DOTENV, &text)?;
    }
    Ok((UnixListener::bind(SOCKET)?, is_written))
}

/// Removes the files of a cluster that does not run: the cluster's directory, if everything was
/// killed, and `.env`, if it is as `start` wrote it. Returns whether `.env` was removed.
pub fn remove() -> Result<bool> {
    let text = fs::read_to_string(COPY).unwrap_or_default();
    let is_ours = !text.is_empty() && fs::read_to_string(DOTENV).is_ok_and(|found| found == text);
    if is_ours {
        fs::remove_file(DOTENV)?;
    }
    // After a restart of the machine, another user can have a directory at the same path: without
    // this password.
    let password = fs::read_to_string(".local-cluster/cluster/password").unwrap_or_default();
    if text.contains(&format!(":{password}@")) {
        // The watchdog of a killed daemon may be removing it at the same time.
        let _ = fs::remove_dir_all(fs::read_link(CLUSTER)?);
    }
    if fs::exists(DIRECTORY)? {
        fs::remove_dir_all(DIRECTORY).context("cannot remove .local-cluster")?;
    }
    Ok(is_ours)
}

/// Writes a new file that only its owner can read: it contains a password.
fn write_new(path: &str, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
