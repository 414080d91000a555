//! From strings to a [`Config`]: which source wins, what each value may be, and the defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, Parameters, REFUSED_VARIABLES, is_placeholder};
use crate::url;

/// Where the parameters come from: the URL first, then the variables.
pub(crate) struct Settings<'a> {
    url: Parameters,
    /// The directory of the `.env` that the URL came from.
    url_directory: Option<PathBuf>,
    environment: &'a Environment,
}

/// One value, and where somebody wrote it.
struct Setting {
    value: String,
    origin: String,
    directory: Option<PathBuf>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of_url(
        url: &str,
        url_directory: Option<PathBuf>,
        environment: &'a Environment,
    ) -> Result<Settings<'a>, ConfigError> {
        let settings = Settings {
            url: url::parse(url)?,
            url_directory,
            environment,
        };
        settings.check_variables()
    }

    pub(crate) fn of_variables(environment: &'a Environment) -> Result<Settings<'a>, ConfigError> {
        Settings {
            url: Parameters::new(),
            url_directory: None,
            environment,
        }
        .check_variables()
    }

    fn check_variables(self) -> Result<Settings<'a>, ConfigError> {
        match REFUSED_VARIABLES
            .into_iter()
            .find(|name| self.environment.get(name).is_some())
        {
            Some(name) => Err(ConfigError::UnsupportedVariable { name }),
            None => Ok(self),
        }
    }

    /// Gives each parameter its value or its default.
    pub(crate) fn settle(self) -> Result<Config, ConfigError> {
        let sslmode = self.sslmode()?;
        let sslrootcert = self.path("sslrootcert")?.map(|path| match path.to_str() {
            Some("system") => RootCert::System,
            _ => RootCert::File(path),
        });
        if sslrootcert == Some(RootCert::System) && sslmode != SslMode::VerifyFull {
            return Err(ConfigError::WeakWithSystemRoots {
                sslmode: sslmode.name(),
            });
        }
        Ok(Config {
            hosts: self.hosts()?,
            user: self
                .text("user")?
                .unwrap_or_else(|| whoami::username().unwrap_or_default()),
            password: self.text("password")?.map(Password::new),
            dbname: self
                .text("dbname")?
                .unwrap_or_else(|| "defaultdb".to_owned()),
            sslmode,
            sslrootcert,
            sslcert: self.path("sslcert")?,
            sslkey: self.path("sslkey")?,
            options: self.text("options")?,
            application_name: self.text("application_name")?.unwrap_or_else(program_name),
            connect_timeout: self.connect_timeout()?,
        })
    }

    /// The parameter's value from the first source that has it. A parameter that the URL leaves empty on
    /// purpose (`?options=`) takes its default, whatever the environment says, as in libpq.
    fn get(&self, name: &'static str) -> Result<Option<Setting>, ConfigError> {
        if let Some(value) = self.url.get(name) {
            let setting = Setting {
                value: value.clone(),
                origin: format!("{name} in DATABASE_URL"),
                directory: self.url_directory.clone(),
            };
            return Ok((!setting.value.is_empty()).then_some(setting));
        }
        let variable = PARAMETERS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(name, |(_, variable)| variable);
        let Some(found) = self.environment.get(variable) else {
            return Ok(None);
        };
        if is_placeholder(name, &found.value) {
            return Err(ConfigError::Placeholder {
                name: variable.to_owned(),
                placeholder: found.value,
            });
        }
        Ok(Some(Setting {
            value: found.value,
            origin: variable.to_owned(),
            directory: found.directory,
        }))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.get(name)?.map(|setting| setting.value))
    }

    /// A file; a relative path in `.env` is relative to that file, any other to the working directory.
    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(setting) = self.get(name)? else {
            return Ok(None);
        };
        if setting.value == "system" {
            return Ok(Some(PathBuf::from(setting.value)));
        }
        let directory = setting.directory.unwrap_or_default();
        Ok(Some(directory.join(Path::new(&setting.value))))
    }

    fn sslmode(&self) -> Result<SslMode, ConfigError> {
        let Some(setting) = self.get("sslmode")? else {
            return Ok(SslMode::VerifyFull);
        };
        SslMode::ALL.into_iter().find(|mode| mode.name() == setting.value).ok_or_else(|| {
            let names = SslMode::ALL.map(SslMode::name).join(", ");
            let expected = match setting.value.as_str() {
                "allow" => format!(
                    "allow would send everything in clear text wherever the server lets it; choose one of {names}"
                ),
                _ => format!("it must be one of {names}"),
            };
            ConfigError::InvalidValue { origin: setting.origin, expected }
        })
    }

    fn hosts(&self) -> Result<Vec<Host>, ConfigError> {
        let names = self.text("host")?.unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let ports = self.get("port")?;
        let ports: Vec<u16> = match &ports {
            None => vec![DEFAULT_PORT],
            Some(setting) => setting
                .value
                .split(',')
                .map(|text| port(text, &setting.origin))
                .collect::<Result<_, _>>()?,
        };
        if ports.len() != 1 && ports.len() != names.len() {
            return Err(ConfigError::PortsAndHosts {
                ports: ports.len(),
                hosts: names.len(),
            });
        }
        let host = |(name, port): (&str, u16)| Host {
            name: if name.is_empty() {
                "localhost".to_owned()
            } else {
                name.to_owned()
            },
            port,
        };
        Ok(names
            .into_iter()
            .zip(ports.into_iter().cycle())
            .map(host)
            .collect())
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, ConfigError> {
        let Some(setting) = self.get("connect_timeout")? else {
            return Ok(Some(Duration::from_secs(10)));
        };
        let seconds: i32 = setting
            .value
            .trim()
            .parse()
            .map_err(|_| ConfigError::InvalidValue {
                origin: setting.origin,
                expected: "it must be a whole number of seconds".to_owned(),
            })?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }
}

/// CockroachDB's port for SQL.
const DEFAULT_PORT: u16 = 26257;

fn port(text: &str, origin: &str) -> Result<u16, ConfigError> {
    if text.trim().is_empty() {
        return Ok(DEFAULT_PORT);
    }
    // The text is not shown: where a password was not percent-encoded, it is a piece of it.
    text.trim()
        .parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| ConfigError::InvalidValue {
            origin: origin.to_owned(),
            expected: "it must be a number from 1 to 65535\n\
                   In a user name or password, write / as %2F, : as %3A, @ as %40 and % as %25."
                .to_owned(),
        })
}

fn program_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
