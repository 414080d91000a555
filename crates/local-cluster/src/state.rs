//! What `local-cluster start` leaves behind for `url` and `stop`.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// In the directory that the script is run for: the root of this repository.
const DIRECTORY: &str = ".local-cluster";
const FILE: &str = ".local-cluster/state";
const DOTENV: &str = ".env";

/// A cluster that runs.
pub struct State {
    /// Its connection string, with the password.
    pub url: String,
    /// The socket of the process that keeps it.
    pub control: PathBuf,
    wrote_dotenv: bool,
}

impl State {
    pub fn new(url: String, control: PathBuf) -> State {
        State {
            url,
            control,
            wrote_dotenv: false,
        }
    }

    /// What a running `start` wrote, if there is one.
    pub fn read() -> Result<Option<State>> {
        let text = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {FILE}"))?,
        };
        let mut lines = text.lines();
        let (Some(url), Some(control)) = (lines.next(), lines.next()) else {
            return Ok(None);
        };
        let wrote_dotenv = lines.next() == Some(DOTENV);
        Ok(Some(State {
            url: url.to_owned(),
            control: control.into(),
            wrote_dotenv,
        }))
    }

    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(DIRECTORY)?;
        let note = if self.wrote_dotenv { DOTENV } else { "" };
        let text = format!("{}\n{}\n{note}\n", self.url, self.control.display());
        // Written beside its place and moved there: nobody reads half of it.
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

    /// Removes the directory with the state.
    pub fn forget() -> Result<()> {
        match fs::remove_dir_all(DIRECTORY) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes `.env` where there is none. Returns whether it did.
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

    /// Removes `.env` if `start` wrote it and nobody has changed it since. Returns whether it did.
    pub fn remove_dotenv(&self) -> Result<bool> {
        let ours =
            self.wrote_dotenv && fs::read_to_string(DOTENV).is_ok_and(|text| text == self.dotenv());
        if ours {
            fs::remove_file(DOTENV)?;
        }
        Ok(ours)
    }

    fn dotenv(&self) -> String {
        format!(
            "# Written by scripts/local-cluster start; scripts/local-cluster stop removes it.\nDATABASE_URL='{}'\n",
            self.url
        )
    }
}
