//! The environment variables of the process and of the nearest `.env`.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// The variables by name: those of the process, and those of `.env` that the process does not set.
#[derive(Default)]
pub(crate) struct Environment(BTreeMap<String, Setting>);

/// One value, and where it is written. An empty value counts as not set.
#[derive(Clone, Default)]
pub(crate) struct Setting {
    pub(crate) value: String,
    pub(crate) origin: String,
    /// The directory of `.env`, if the value comes from there.
    pub(crate) directory: Option<PathBuf>,
}

impl Setting {
    pub(crate) fn text(self) -> Option<String> {
        Some(self.value).filter(|value| !value.is_empty())
    }

    /// Returns a path. A relative path in `.env` is relative to that file, any other to the working
    /// directory.
    pub(crate) fn path(self) -> Option<PathBuf> {
        let directory = self.directory.clone().unwrap_or_default();
        self.text().map(|path| directory.join(path))
    }

    pub(crate) fn invalid(&self, expected: &str) -> ConfigError {
        format!("{} is not valid: {expected}", self.origin).into()
    }
}

impl Environment {
    /// Reads these variables, and the nearest `.env` from the working directory upwards. The
    /// process's own environment is not changed.
    pub(crate) fn read(names: &[&str]) -> Result<Environment, ConfigError> {
        let mut environment = Environment::default();
        for name in names {
            match env::var(name) {
                Ok(value) => environment.add(name, value, None),
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8"))?,
            }
        }
        let here = env::current_dir().unwrap_or_default();
        let mut paths = here.ancestors().map(|above| above.join(".env"));
        if let Some(path) = paths.find(|path| path.is_file()) {
            environment.read_dotenv(&path)?;
        }
        Ok(environment)
    }

    pub(crate) fn read_dotenv(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display();
        let unreadable = |error: &dyn Error| format!("cannot read {shown}: {error}");
        let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        for item in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
            let (name, value) = item.map_err(|error| {
                // dotenvy's message quotes the line, which may contain the password.
                let dotenvy::Error::LineParse(line, _) = error else {
                    return unreadable(&error);
                };
                let line = line.lines().next().unwrap_or_default();
                let index = text.lines().position(|other| other.contains(line));
                format!(
                    "{shown}, line {}: this is not NAME=value\n\
                     Put a value with spaces, quotes or a $ into single quotes.",
                    index.unwrap_or(0) + 1
                )
            })?;
            self.add(&name, value, path.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Adds a variable if it is not set yet.
    pub(crate) fn add(&mut self, name: &str, value: String, directory: Option<PathBuf>) {
        self.0.entry(name.to_owned()).or_insert_with(|| Setting {
            value,
            origin: name.to_owned(),
            directory,
        });
    }

    /// Returns the variable. One of the process that is set to nothing hides the one of `.env`.
    pub(crate) fn get(&self, name: &str) -> Setting {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Returns `DATABASE_URL`. A `PGHOST` of the process wins over the `DATABASE_URL` of a `.env`,
    /// which may be in a parent directory.
    pub(crate) fn database_url(&self) -> Setting {
        let (url, host) = (self.get("DATABASE_URL"), self.get("PGHOST"));
        let is_overridden = !host.value.is_empty() && host.directory.is_none();
        match url.directory {
            Some(_) if is_overridden => Setting::default(),
            _ => url,
        }
    }
}
