//! From strings to a [`Config`]: which source wins, which values are valid, and the defaults.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, Parameters, REFUSED_VARIABLES, is_placeholder};
use crate::url;

impl Config {
    /// Reads `DATABASE_URL` and the `PG*` variables, from the environment and, for those that are not set
    /// there, from the nearest `.env` in the working directory or above it.
    ///
    /// # Errors
    ///
    /// Returns an error if neither `DATABASE_URL` nor `PGHOST` is set, or if a value cannot be used.
    pub fn from_env() -> Result<Config, ConfigError> {
        Config::from_environment(&Environment::read(variables())?)
    }

    /// Reads this URL instead of `DATABASE_URL`; what it does not give comes from the `PG*` variables.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL or one of the variables cannot be used.
    pub fn from_url(url: &str) -> Result<Config, ConfigError> {
        let environment = Environment::read(variables())?;
        Settings::new(url::parse(url.trim())?, None, &environment)?.resolve()
    }

    pub(crate) fn from_environment(environment: &Environment) -> Result<Config, ConfigError> {
        match environment.database_url() {
            Some(url) => {
                let parameters = url::parse(url.value.trim())?;
                Settings::new(parameters, url.directory, environment)?.resolve()
            }
            None if environment.get("PGHOST").is_some() => {
                Settings::new(Parameters::new(), None, environment)?.resolve()
            }
            None => Err(ConfigError::NotSet),
        }
    }
}

fn variables() -> impl Iterator<Item = &'static str> {
    let supported = PARAMETERS.iter().map(|(_, variable)| *variable);
    let refused = REFUSED_VARIABLES.iter().map(|(variable, _)| *variable);
    supported.chain(refused).chain(["DATABASE_URL"])
}

/// The sources of the parameters: the URL first, then the variables.
pub(crate) struct Settings<'a> {
    url: Parameters,
    /// The directory of the `.env` that contains the URL.
    url_directory: Option<PathBuf>,
    environment: &'a Environment,
}

/// One value, and where it is written.
struct Setting {
    value: String,
    origin: String,
    directory: Option<PathBuf>,
}

impl Setting {
    fn invalid(self, expected: impl Into<String>) -> ConfigError {
        ConfigError::InvalidValue {
            origin: self.origin,
            expected: expected.into(),
        }
    }
}

impl<'a> Settings<'a> {
    pub(crate) fn new(
        url: Parameters,
        url_directory: Option<PathBuf>,
        environment: &'a Environment,
    ) -> Result<Settings<'a>, ConfigError> {
        for (name, harmless) in REFUSED_VARIABLES {
            let variable = environment.get(name);
            if variable.is_some_and(|variable| !harmless.contains(&variable.value.as_str())) {
                return Err(ConfigError::UnsupportedVariable { name });
            }
        }
        Ok(Settings {
            url,
            url_directory,
            environment,
        })
    }

    /// Gives each parameter its value or its default.
    pub(crate) fn resolve(self) -> Result<Config, ConfigError> {
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
        let user = self.text("user")?;
        let dbname = self.text("dbname")?;
        Ok(Config {
            hosts: self.hosts()?,
            user: user.unwrap_or_else(|| whoami::username().unwrap_or_default()),
            password: self.text("password")?.map(Password::new),
            dbname: dbname.unwrap_or_else(|| "defaultdb".to_owned()),
            sslmode,
            sslrootcert,
            sslcert: self.path("sslcert")?,
            sslkey: self.path("sslkey")?,
            options: self.text("options")?,
            application_name: self.text("application_name")?.unwrap_or_else(program_name),
            connect_timeout: self.connect_timeout()?,
            load_balance_hosts: self.load_balance_hosts()?,
        })
    }

    /// Returns the parameter's value from the first source that has it. As in libpq, a parameter that the
    /// URL leaves empty (`?options=`) has its default, even if the variable is set.
    fn get(&self, name: &'static str) -> Result<Option<Setting>, ConfigError> {
        if let Some(value) = self.url.get(name) {
            let setting = Setting {
                value: value.clone(),
                origin: format!("{name} in DATABASE_URL"),
                directory: self.url_directory.clone(),
            };
            return Ok((!value.is_empty()).then_some(setting));
        }
        let parameter = PARAMETERS.iter().find(|(parameter, _)| *parameter == name);
        let Some((variable, found)) =
            parameter.and_then(|(_, variable)| Some((variable, self.environment.get(variable)?)))
        else {
            return Ok(None);
        };
        let (origin, value) = (variable.to_string(), found.value);
        if is_placeholder(name, &value) {
            return Err(ConfigError::Placeholder {
                name: origin,
                placeholder: value,
            });
        }
        Ok(Some(Setting {
            value,
            origin,
            directory: found.directory,
        }))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.get(name)?.map(|setting| setting.value))
    }

    /// Returns a path. A relative path in `.env` is relative to that file, any other to the working
    /// directory.
    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let setting = self.get(name)?;
        Ok(setting.map(|setting| match setting.value.as_str() {
            "system" if name == "sslrootcert" => PathBuf::from(setting.value),
            _ => setting.directory.unwrap_or_default().join(setting.value),
        }))
    }

    fn sslmode(&self) -> Result<SslMode, ConfigError> {
        let Some(setting) = self.get("sslmode")? else {
            return Ok(SslMode::VerifyFull);
        };
        if let Some(mode) = SslMode::ALL
            .into_iter()
            .find(|mode| mode.name() == setting.value)
        {
            return Ok(mode);
        }
        let names = SslMode::ALL.map(SslMode::name).join(", ");
        Err(match setting.value.as_str() {
            mode @ ("prefer" | "allow") => {
                let expected = format!(
                    "{mode} does not protect the connection, since the server or an attacker decides \
                     whether it is encrypted\n\
                     Write sslmode=verify-full or require to encrypt it, or disable not to."
                );
                setting.invalid(expected)
            }
            _ => setting.invalid(format!("it must be one of {names}")),
        })
    }

    fn hosts(&self) -> Result<Vec<Host>, ConfigError> {
        let setting = self.get("host")?;
        let names = setting.as_ref().map_or("", |setting| &setting.value);
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        // A name that begins with "@" is a socket in Linux's abstract namespace.
        if let Some(setting) = &setting
            && names.iter().any(|name| name.starts_with(['/', '@']))
        {
            return Err(ConfigError::UnixSocket {
                origin: setting.origin.clone(),
            });
        }
        let ports = match self.get("port")? {
            None => vec![DEFAULT_PORT],
            Some(setting) => {
                let ports: Option<Vec<u16>> = setting.value.split(',').map(port).collect();
                // The text is not shown: it may be a piece of a password that is not percent-encoded.
                ports.ok_or_else(|| {
                    setting.invalid(
                        "it must be a number from 1 to 65535\n\
                         In a user name or password, write / as %2F, : as %3A, @ as %40 and % as %25.",
                    )
                })?
            }
        };
        if ports.len() != 1 && ports.len() != names.len() {
            return Err(ConfigError::PortsAndHosts {
                ports: ports.len(),
                hosts: names.len(),
            });
        }
        let host = |(name, port): (&str, u16)| Host {
            name: if name.is_empty() { "localhost" } else { name }.to_owned(),
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
        match setting.value.trim().parse::<i32>() {
            Ok(seconds) => {
                let seconds = u64::try_from(seconds).unwrap_or(0);
                Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
            }
            Err(_) => Err(setting.invalid("it must be a whole number of seconds")),
        }
    }

    fn load_balance_hosts(&self) -> Result<bool, ConfigError> {
        let Some(setting) = self.get("load_balance_hosts")? else {
            return Ok(false);
        };
        match setting.value.as_str() {
            "disable" => Ok(false),
            "random" => Ok(true),
            _ => Err(setting.invalid("it must be disable or random")),
        }
    }
}

/// CockroachDB's port for SQL.
const DEFAULT_PORT: u16 = 26257;

fn port(text: &str) -> Option<u16> {
    match text.trim() {
        "" => Some(DEFAULT_PORT),
        text => text.parse().ok().filter(|&port| port != 0),
    }
}

fn program_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
