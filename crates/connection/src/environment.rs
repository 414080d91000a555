//! The environment variables of the process and of the nearest `.env`.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// The variables of the process, and those of the nearest `.env`.
#[derive(Default)]
pub(crate) struct Environment {
    process: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    /// The directory of `.env`. Relative paths in `.env` are relative to it.
    directory: PathBuf,
}

/// The value of a variable.
pub(crate) struct Variable {
    pub(crate) value: String,
    /// The directory of `.env`, if the value comes from there.
    pub(crate) directory: Option<PathBuf>,
}

impl Environment {
    /// Reads these variables, and the nearest `.env` from the working directory upwards. The process's own
    /// environment is not changed.
    pub(crate) fn read<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Environment, ConfigError> {
        let mut environment = Environment::default();
        for name in names {
            match std::env::var(name) {
                Ok(value) => drop(environment.process.insert(name.to_owned(), value)),
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => {
                    let variable = name.to_owned();
                    return Err(ConfigError::NotUnicode { variable });
                }
            }
        }
        let working_directory = std::env::current_dir().unwrap_or_default();
        let mut paths = working_directory
            .ancestors()
            .map(|directory| directory.join(".env"));
        if let Some(path) = paths.find(|path| path.is_file()) {
            environment.read_dotenv(&path)?;
        }
        Ok(environment)
    }

    pub(crate) fn read_dotenv(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |source| ConfigError::DotenvUnreadable {
            path: path.to_owned(),
            source,
        };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        for item in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
            let (name, value) = item.map_err(|error| match error {
                // dotenvy's message quotes the line, which may contain the password.
                dotenvy::Error::LineParse(line, _) => {
                    let line = line.lines().next().unwrap_or_default();
                    let index = text.lines().position(|other| other.contains(line));
                    ConfigError::DotenvLine {
                        path: path.to_owned(),
                        line: index.map_or(1, |index| index + 1),
                    }
                }
                dotenvy::Error::Io(source) => unreadable(source),
                other => unreadable(std::io::Error::other(other)),
            })?;
            self.dotenv.entry(name).or_insert(value);
        }
        self.directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(())
    }

    /// Returns the variable's value. An empty value counts as not set, so that a line of `.env` can be left
    /// empty, and a variable of the process that is set to nothing hides the one of `.env`.
    pub(crate) fn get(&self, name: &str) -> Option<Variable> {
        let found = match self.process.get(name) {
            Some(value) => Variable {
                value: value.clone(),
                directory: None,
            },
            None => Variable {
                value: self.dotenv.get(name)?.clone(),
                directory: Some(self.directory.clone()),
            },
        };
        (!found.value.is_empty()).then_some(found)
    }

    /// Returns `DATABASE_URL`. A `PGHOST` of the process wins over the `DATABASE_URL` of a `.env`, which may
    /// lie in any parent directory.
    pub(crate) fn database_url(&self) -> Option<Variable> {
        let host_is_set = self
            .process
            .get("PGHOST")
            .is_some_and(|host| !host.is_empty());
        let url = self.get("DATABASE_URL")?;
        (url.directory.is_none() || !host_is_set).then_some(url)
    }
}

#[cfg(test)]
impl Environment {
    /// Returns an environment with these variables, and a `.env` with those in `directory`.
    pub(crate) fn of(
        process: &[(&str, &str)],
        dotenv: &[(&str, &str)],
        directory: &str,
    ) -> Environment {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect()
        };
        let (process, dotenv) = (owned(process), owned(dotenv));
        Environment {
            process,
            dotenv,
            directory: directory.into(),
        }
    }
}
