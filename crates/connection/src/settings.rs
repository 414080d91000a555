//! From strings to a [`Config`]: which source wins, which values are valid, and the defaults.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::environment::{Environment, Setting};
use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, Parameters, REFUSED_VARIABLES, refuse_placeholder};
use crate::url;

impl Config {
    /// Reads `DATABASE_URL` and the `PG*` variables, from the environment and, for those that are
    /// not set there, from the nearest `.env` in the working directory or above it.
    ///
    /// # Errors
    ///
    /// Returns an error if neither `DATABASE_URL` nor `PGHOST` is set, or if a value cannot be used.
    pub fn from_env() -> Result<Config, ConfigError> {
        Config::from_environment(&Environment::read(&variables())?)
    }

    /// Reads this URL instead of `DATABASE_URL`; what it does not give comes from the `PG*`
    /// variables.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL or one of the variables cannot be used.
    pub fn from_url(url: &str) -> Result<Config, ConfigError> {
        resolve(url, None, &Environment::read(&variables())?)
    }

    pub(crate) fn from_environment(environment: &Environment) -> Result<Config, ConfigError> {
        match environment.database_url() {
            Some(url) => resolve(&url.value, url.directory, environment),
            None if environment.get("PGHOST").is_some() => {
                resolve("postgres://", None, environment)
            }
            None => Err(ConfigError::from(
                "DATABASE_URL is not set\n\
                 Copy .env.example to .env and put your cluster's connection string there, or run \
                 `scripts/local-cluster start` for a cluster on this machine.",
            )),
        }
    }
}

fn variables() -> Vec<&'static str> {
    let supported = PARAMETERS.map(|(_, variable)| variable);
    let refused = REFUSED_VARIABLES.map(|(variable, _)| variable);
    [&["DATABASE_URL"], &supported[..], &refused].concat()
}

/// Gives each parameter its value or its default. `directory` is that of the `.env` that contains
/// the URL.
pub(crate) fn resolve(
    url: &str,
    directory: Option<PathBuf>,
    environment: &Environment,
) -> Result<Config, ConfigError> {
    let url = url::parse(url)?;
    let settings = Settings {
        url,
        directory,
        environment,
    };
    for (name, harmless) in REFUSED_VARIABLES {
        let variable = environment.get(name);
        if variable.is_some_and(|variable| !harmless.contains(&variable.value.as_str())) {
            return Err(ConfigError::from(format!(
                "{name} is set, and not every driver can honour it\n\
                 Unset it to connect without it."
            )));
        }
    }
    let password = settings.get("password")?;
    Ok(Config {
        hosts: settings.hosts()?,
        user: settings.text("user", || whoami::username().unwrap_or_default())?,
        password: password.map(|setting| Password::new(setting.value)),
        dbname: settings.text("dbname", || "defaultdb".to_owned())?,
        sslmode: settings.sslmode()?,
        sslrootcert: settings.sslrootcert()?,
        sslcert: settings.get("sslcert")?.map(Setting::path),
        sslkey: settings.get("sslkey")?.map(Setting::path),
        options: settings.get("options")?.map(|setting| setting.value),
        application_name: settings.text("application_name", program_name)?,
        connect_timeout: settings.connect_timeout()?,
        load_balance_hosts: settings.load_balance_hosts()?,
    })
}

/// The sources of the parameters: the URL first, then the variables.
struct Settings<'a> {
    url: Parameters,
    directory: Option<PathBuf>,
    environment: &'a Environment,
}

impl Settings<'_> {
    /// Returns the parameter's value from the first source that has it. As in libpq, a parameter
    /// that the URL leaves empty (`?options=`) has its default, even if the variable is set.
    fn get(&self, name: &str) -> Result<Option<Setting>, ConfigError> {
        if let Some(value) = self.url.get(name) {
            return Ok((!value.is_empty()).then(|| Setting {
                value: value.clone(),
                origin: format!("{name} in DATABASE_URL"),
                directory: self.directory.clone(),
            }));
        }
        let parameter = PARAMETERS.iter().find(|(parameter, _)| *parameter == name);
        let variable = parameter.map_or("", |(_, variable)| variable);
        let setting = self.environment.get(variable);
        if let Some(setting) = &setting {
            refuse_placeholder(name, variable, &setting.value)?;
        }
        Ok(setting)
    }

    fn text(&self, name: &str, default: fn() -> String) -> Result<String, ConfigError> {
        let setting = self.get(name)?;
        Ok(setting.map_or_else(default, |setting| setting.value))
    }

    fn sslmode(&self) -> Result<SslMode, ConfigError> {
        let Some(setting) = self.get("sslmode")? else {
            return Ok(SslMode::VerifyFull);
        };
        match setting.value.as_str() {
            "disable" => Ok(SslMode::Disable),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "verify-full" => Ok(SslMode::VerifyFull),
            mode @ ("prefer" | "allow") => Err(setting.invalid(&format!(
                "{mode} does not protect the connection, since the server or an attacker decides \
                 whether it is encrypted\n\
                 Write sslmode=verify-full or require to encrypt it, or disable not to."
            ))),
            _ => Err(setting.invalid("it must be one of disable, require, verify-ca, verify-full")),
        }
    }

    fn sslrootcert(&self) -> Result<Option<RootCert>, ConfigError> {
        let setting = self.get("sslrootcert")?;
        Ok(setting.map(|setting| match setting.value.as_str() {
            "system" => RootCert::System,
            _ => RootCert::File(setting.path()),
        }))
    }

    fn hosts(&self) -> Result<Vec<Host>, ConfigError> {
        let setting = self.get("host")?;
        let names = setting.as_ref().map_or("", |setting| &setting.value);
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        // A name that begins with "@" is a socket in Linux's abstract namespace.
        if names.iter().any(|name| name.starts_with(['/', '@'])) {
            let origin = setting.as_ref().map_or("", |setting| &setting.origin);
            return Err(ConfigError::from(format!(
                "{origin} is the directory of a Unix socket, which is not supported\n\
                 Write the name or the IP address of the server: localhost, for one on this machine."
            )));
        }
        let ports: Vec<u16> = match self.get("port")? {
            None => vec![DEFAULT_PORT],
            // The text is not shown: it may be a piece of a password.
            Some(setting) => setting
                .value
                .split(',')
                .map(port)
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    setting.invalid(
                        "it must be a number from 1 to 65535\n\
                     In a user name or password, write / as %2F, : as %3A, @ as %40 and % as %25.",
                    )
                })?,
        };
        if ports.len() != 1 && ports.len() != names.len() {
            return Err(ConfigError::from(format!(
                "{} ports for {} hosts: give one port for all of them, or one for each",
                ports.len(),
                names.len()
            )));
        }
        let hosts = names.into_iter().zip(ports.into_iter().cycle());
        let named = |name: &str| if name.is_empty() { "localhost" } else { name }.to_owned();
        Ok(hosts
            .map(|(name, port)| Host {
                name: named(name),
                port,
            })
            .collect())
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, ConfigError> {
        let Some(setting) = self.get("connect_timeout")? else {
            return Ok(Some(Duration::from_secs(10)));
        };
        let seconds = setting.value.trim().parse::<i32>();
        let seconds =
            seconds.map_err(|_| setting.invalid("it must be a whole number of seconds"))?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
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
    let program = env::current_exe().unwrap_or_default();
    let name = program.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
