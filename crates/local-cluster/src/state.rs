//! The files that `local-cluster start` writes: its state, which `url` and `stop` read, and `.env`.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
    wrote_dotenv: bool,
}

impl State {
    pub fn new(url: String, socket: PathBuf) -> State {
        State {
            url,
            socket,
            wrote_dotenv: false,
        }
    }

    /// Reads the state file. Returns `None` if it is missing or incomplete.
    pub fn read() -> Result<Option<State>> {
        let text = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {FILE}"))?,
        };
        let mut lines = text.lines();
        let (Some(url), Some(socket)) = (lines.next(), lines.next()) else {
            return Ok(None);
        };
        let wrote_dotenv = lines.next() == Some(DOTENV);
        Ok(Some(State {
            url: url.to_owned(),
            socket: socket.into(),
            wrote_dotenv,
        }))
    }

    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(DIRECTORY)?;
        let note = if self.wrote_dotenv { DOTENV } else { "" };
        let text = format!("{}\n{}\n{note}\n", self.url, self.socket.display());
        // Renaming a complete file over the old one means that no reader sees half of it.
        let new = Path::new(DIRECTORY).join("state.new");
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        Ok(fs::rename(new, FILE)?)
    }

    /// Removes the state file and its directory.
    pub fn remove() -> Result<()> {
        match fs::remove_dir_all(DIRECTORY) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes `.env` unless the file exists. Returns whether it was written.
    pub fn write_dotenv(&mut self) -> Result<bool> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(DOTENV);
        match file {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            file => file
                .context("cannot write .env")?
                .write_all(self.dotenv().as_bytes())?,
        }
        self.wrote_dotenv = true;
        self.write()?;
        Ok(true)
    }

    /// Removes `.env` if `start` wrote it and it has not changed since. Returns whether it did.
    pub fn remove_dotenv(&self) -> Result<bool> {
        let unchanged =
            self.wrote_dotenv && fs::read_to_string(DOTENV).is_ok_and(|text| text == self.dotenv());
        if unchanged {
            fs::remove_file(DOTENV)?;
        }
        Ok(unchanged)
    }

    fn dotenv(&self) -> String {
        format!(
            "# Written by scripts/local-cluster start; scripts/local-cluster stop removes it.\n\
             DATABASE_URL='{}'\n",
            self.url
        )
    }
}
