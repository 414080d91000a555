//! The files that `local-cluster start` writes: its state, which `url` and `stop` read, and `.env`.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, Result};

/// These paths are relative to the current directory, which is the root of the repository.
const DIRECTORY: &str = ".local-cluster";
const FILE: &str = ".local-cluster/state";
/// A symbolic link to the cluster's directory.
const CLUSTER: &str = ".local-cluster/cluster";
/// The socket of the daemon. By the link its path is short enough, wherever the directory is.
const SOCKET: &str = ".local-cluster/cluster/control";
/// The password in the connection string.
const PASSWORD: &str = ".local-cluster/cluster/password";
const DOTENV: &str = ".env";

/// The state file of a running cluster.
pub struct State {
    /// The connection string, with the password.
    pub url: String,
    /// What runs, such as "CockroachDB v26.2.5".
    pub server: String,
}

impl State {
    /// Reads the state file. Returns `None` if it is missing.
    pub fn read() -> Result<Option<State>> {
        let text = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {FILE}"))?,
        };
        let [url, server] = *text.lines().collect::<Vec<_>>() else {
            return Ok(None);
        };
        Ok(Some(State {
            url: url.to_owned(),
            server: server.to_owned(),
        }))
    }

    /// Returns the number of nodes.
    pub fn nodes(&self) -> usize {
        self.url.matches("localhost:").count()
    }

    /// Creates the directory for the state file.
    pub fn prepare() -> Result<()> {
        fs::create_dir_all(DIRECTORY).with_context(|| {
            let current = env::current_dir().unwrap_or_default();
            format!("cannot write {DIRECTORY} in {}", current.display())
        })
    }

    /// Writes the state file of the cluster in `directory`. Returns the socket of its daemon.
    pub fn write(&self, directory: &Path) -> Result<UnixListener> {
        let text = format!("{}\n{}\n", self.url, self.server);
        symlink(directory, CLUSTER).with_context(|| format!("cannot write {CLUSTER}"))?;
        write_new(FILE, &text).with_context(|| format!("cannot write {FILE}"))?;
        UnixListener::bind(SOCKET).context("cannot create a socket in the cluster's directory")
    }

    /// Connects to the daemon of the cluster. Returns `None` if it does not run.
    pub fn connect() -> Option<UnixStream> {
        UnixStream::connect(SOCKET).ok()
    }

    /// Writes `.env` unless the file exists. Returns whether it was written.
    pub fn write_dotenv(&self) -> Result<bool> {
        match write_new(DOTENV, &self.dotenv()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            written => written.context("cannot write .env").map(|()| true),
        }
    }

    /// Removes the files of a cluster that does not run: the state file, the cluster's directory if
    /// everything was killed, and `.env` if it is as `start` wrote it. Returns whether `.env` was
    /// removed.
    pub fn remove() -> Result<bool> {
        let state = State::read()?;
        let dotenv = state.as_ref().map(State::dotenv);
        let is_ours = dotenv.is_some() && fs::read_to_string(DOTENV).ok() == dotenv;
        if is_ours {
            fs::remove_file(DOTENV)?;
        }
        // After a restart of the machine, another user can have a directory at the same path: without
        // this password.
        let password = fs::read_to_string(PASSWORD).unwrap_or_default();
        if state.is_some_and(|state| state.url.contains(&format!(":{password}@"))) {
            // The watchdog of a killed daemon may be removing it at the same time.
            let _ = fs::remove_dir_all(fs::read_link(CLUSTER)?);
        }
        match fs::remove_dir_all(DIRECTORY) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(is_ours),
        }
    }

    /// The text of `.env`. Its password is new for each cluster, so no other file has this text.
    fn dotenv(&self) -> String {
        format!(
            "# Written by scripts/local-cluster start; scripts/local-cluster stop removes it.\n\
             DATABASE_URL='{}'\n",
            self.url
        )
    }
}

/// Writes a new file that only its owner can read: it contains a password.
fn write_new(path: &str, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
