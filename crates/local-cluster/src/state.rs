//! The files that `local-cluster start` writes: its state, which `url` and `stop` read, and `.env`.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// These paths are relative to the current directory, which is the root of the repository.
const DIRECTORY: &str = ".local-cluster";
const FILE: &str = ".local-cluster/state";
const DOTENV: &str = ".env";

/// The state file of a running cluster.
pub struct State {
    /// The connection string, with the password.
    pub url: String,
    /// The socket of the daemon.
    pub socket: PathBuf,
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
        let [url, socket, server] = *text.lines().collect::<Vec<_>>() else {
            return Ok(None);
        };
        Ok(Some(State {
            url: url.to_owned(),
            socket: socket.into(),
            server: server.to_owned(),
        }))
    }

    /// Writes the state file.
    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(DIRECTORY)?;
        let text = format!("{}\n{}\n{}", self.url, self.socket.display(), self.server);
        write_new(FILE, &text).with_context(|| format!("cannot write {FILE}"))
    }

    /// Writes `.env` unless the file exists. Returns whether it was written.
    pub fn write_dotenv(&self) -> Result<bool> {
        match write_new(DOTENV, &self.dotenv()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            written => written.context("cannot write .env").map(|()| true),
        }
    }

    /// Removes the state file, and `.env` if it is as `start` wrote it. Returns whether `.env` was
    /// removed.
    pub fn remove() -> Result<bool> {
        let dotenv = State::read()?.map(|state| state.dotenv());
        let is_ours = dotenv.is_some() && fs::read_to_string(DOTENV).ok() == dotenv;
        if is_ours {
            fs::remove_file(DOTENV)?;
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
