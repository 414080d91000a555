//! The environment, with `.env` filling its gaps.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// Variables of the process, and those of the nearest `.env` for the ones that are not set.
#[derive(Default)]
pub(crate) struct Environment {
    process: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    /// Where `.env` lies, and what relative paths in it are relative to.
    directory: PathBuf,
}

/// The value of a variable.
pub(crate) struct Variable {
    pub(crate) value: String,
    /// The directory of `.env`, for a value that came from there.
    pub(crate) directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables named, and the nearest `.env` from the working directory upwards.
    ///
    /// The process's own environment is left as it is.
    pub(crate) fn read<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Environment, ConfigError> {
        let mut environment = Environment::default();
        for name in names {
            match std::env::var(name) {
                Ok(value) => drop(environment.process.insert(name.to_owned(), value)),
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => {
                    return Err(ConfigError::NotUnicode {
                        variable: name.to_owned(),
                    });
                }
            }
        }
        let working_directory = std::env::current_dir().unwrap_or_default();
        let nearest = working_directory
            .ancestors()
            .map(|at| at.join(".env"))
            .find(|path| path.is_file());
        if let Some(path) = nearest {
            environment.read_dotenv(&path)?;
        }
        Ok(environment)
    }

    fn read_dotenv(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |source| ConfigError::DotenvUnreadable {
            path: path.to_owned(),
            source,
        };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        // dotenvy's own message quotes the line, which may hold the password.
        for item in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
            let (name, value) = item.map_err(|error| match error {
                // It names the line, or the value in it, by its text.
                dotenvy::Error::LineParse(culprit, _) => {
                    let culprit = culprit.lines().next().unwrap_or_default();
                    let at = text.lines().position(|line| line.contains(culprit));
                    ConfigError::DotenvLine {
                        path: path.to_owned(),
                        line: at.map_or(1, |at| at + 1),
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

    /// The variable's value. An empty one counts as not set, so that a line of `.env` can be left blank.
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
}

#[cfg(test)]
impl Environment {
    /// These variables, and a `.env` with those in `directory`.
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
