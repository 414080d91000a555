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
    /// Returns an error if neither `DATABASE_URL` nor `PGHOST` is set, or if a value cannot be
    /// used.
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
        let url = environment.database_url();
        if !url.value.is_empty() {
            return resolve(&url.value, url.directory, environment);
        }
        if !environment.get("PGHOST").value.is_empty() {
            return resolve("postgres://", None, environment);
        }
        Err(ConfigError::from(
            "DATABASE_URL is not set\n\
             Copy .env.example to .env and put your cluster's connection string there, or run \
             `scripts/local-cluster start` for a cluster on this machine.",
        ))
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
        let value = environment.get(name).value;
        if !value.is_empty() && !harmless.contains(&value.as_str()) {
            return Err(ConfigError::from(format!(
                "{name} is set, and not every driver can honour it\n\
                 Unset it to connect without it."
            )));
        }
    }
    Ok(Config {
        hosts: settings.hosts()?,
        user: settings.text("user", || whoami::username().unwrap_or_default())?,
        password: settings.get("password")?.text().map(Password::new),
        dbname: settings.text("dbname", || "defaultdb".to_owned())?,
        sslmode: settings.sslmode()?,
        sslrootcert: settings.sslrootcert()?,
        sslcert: settings.get("sslcert")?.path(),
        sslkey: settings.get("sslkey")?.path(),
        options: settings.get("options")?.text(),
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
    ///
    /// `PGSSLMODE` of the process wins over a URL in `.env`. The password and the sslmode in `.env`
    /// are not for a server that is named elsewhere.
    fn get(&self, name: &str) -> Result<Setting, ConfigError> {
        let parameter = PARAMETERS.iter().find(|(parameter, _)| *parameter == name);
        let variable = parameter.map_or("", |(_, variable)| variable);
        let setting = self.environment.get(variable);
        let of_process = setting.directory.is_none() && !setting.value.is_empty();
        let wins = name == "sslmode" && self.directory.is_some() && of_process;
        if let Some(value) = self.url.get(name).filter(|_| !wins) {
            return Ok(Setting {
                value: value.clone(),
                origin: format!("{name} in DATABASE_URL"),
                directory: self.directory.clone(),
            });
        }
        if setting.directory.is_some() && ["password", "sslmode"].contains(&name) {
            let host = self.environment.get("PGHOST");
            let by_variable = !self.url.contains_key("host") && host.directory.is_some();
            if self.directory.is_none() && !by_variable {
                return Ok(Setting::default());
            }
        }
        refuse_placeholder(name, variable, &setting.value)?;
        if setting.value.contains('\0') {
            return Err(setting.invalid("it contains a zero byte"));
        }
        Ok(setting)
    }

    fn text(&self, name: &str, default: fn() -> String) -> Result<String, ConfigError> {
        Ok(self.get(name)?.text().unwrap_or_else(default))
    }

    fn sslmode(&self) -> Result<SslMode, ConfigError> {
        let setting = self.get("sslmode")?;
        match setting.value.as_str() {
            "disable" => Ok(SslMode::Disable),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "" | "verify-full" => Ok(SslMode::VerifyFull),
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
        Ok(match setting.value.as_str() {
            "system" => Some(RootCert::System),
            _ => setting.path().map(RootCert::File),
        })
    }

    fn hosts(&self) -> Result<Vec<Host>, ConfigError> {
        let (host, port) = (self.get("host")?, self.get("port")?);
        let names: Vec<&str> = host.value.split(',').map(str::trim).collect();
        // A name that begins with "@" is a socket in Linux's abstract namespace. The text is not
        // shown: a URL in the place of a host contains the password.
        if names.iter().any(|name| name.starts_with(['/', '@'])) {
            return Err(ConfigError::from(format!(
                "{} is the directory of a Unix socket, which is not supported\n\
                 Write the name or the IP address of the server: localhost, for one on this machine.",
                host.origin
            )));
        }
        if names.iter().any(|name| name.contains(['/', '@'])) {
            return Err(host.invalid("it must be the name or the IP address of a server"));
        }
        let ports: Option<Vec<u16>> = port.value.split(',').map(parse_port).collect();
        // The text is not shown: it may be a piece of a password.
        let ports = ports.ok_or_else(|| {
            port.invalid(
                "it must be a number from 1 to 65535\n\
                 In a user name or password, write / as %2F, : as %3A, @ as %40 and % as %25.",
            )
        })?;
        if ports.len() != 1 && ports.len() != names.len() {
            return Err(ConfigError::from(format!(
                "{} ports for {} hosts: give one port for all of them, or one for each",
                ports.len(),
                names.len()
            )));
        }
        let hosts = names.into_iter().zip(ports.into_iter().cycle());
        let hosts = hosts.map(|(name, port)| {
            let name = if name.is_empty() { "localhost" } else { name };
            let name = name.to_owned();
            Host { name, port }
        });
        Ok(hosts.collect())
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, ConfigError> {
        let setting = self.get("connect_timeout")?;
        match (setting.value.as_str(), setting.value.trim().parse::<i32>()) {
            ("", _) => Ok(Some(Duration::from_secs(10))),
            (_, Ok(..1)) => Ok(None),
            (_, Ok(seconds)) => Ok(Some(Duration::from_secs(seconds.unsigned_abs().into()))),
            (_, Err(_)) => Err(setting.invalid("it must be a whole number of seconds")),
        }
    }

    fn load_balance_hosts(&self) -> Result<bool, ConfigError> {
        let setting = self.get("load_balance_hosts")?;
        match setting.value.as_str() {
            "" | "disable" => Ok(false),
            "random" => Ok(true),
            _ => Err(setting.invalid("it must be disable or random")),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    match text.trim() {
        // CockroachDB's port for SQL.
        "" => Some(26257),
        text => text.parse().ok().filter(|&port| port != 0),
    }
}

fn program_name() -> String {
    let program = env::current_exe().unwrap_or_default();
    let name = program.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
