//! What to connect to, settled from the connection string, the environment and the defaults.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, REFUSED_VARIABLES};
use crate::settings::Settings;
use crate::url;

/// Everything that a driver needs to know to connect. One string, one meaning, whichever driver reads it.
///
/// Each field is the libpq parameter of the same name; its documentation gives the default. `Debug` and
/// `Display` show all of it but the password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `host` and `port` (`PGHOST`, `PGPORT`): the servers to try, in this order. Default: `localhost`,
    /// port 26257.
    pub hosts: Vec<Host>,
    /// `user` (`PGUSER`). Default: the operating system's user name.
    pub user: String,
    /// `password` (`PGPASSWORD`). Default: none. There is no `.pgpass` file.
    pub password: Option<Password>,
    /// `dbname` (`PGDATABASE`). Default: `defaultdb`.
    pub dbname: String,
    /// `sslmode` (`PGSSLMODE`). Default: `verify-full`.
    pub sslmode: SslMode,
    /// `sslrootcert` (`PGSSLROOTCERT`). Default: `~/.postgresql/root.crt` if it is there, else the operating
    /// system's certificates.
    pub sslrootcert: Option<RootCert>,
    /// `sslcert` (`PGSSLCERT`). Default: `~/.postgresql/postgresql.crt` if it is there.
    pub sslcert: Option<PathBuf>,
    /// `sslkey` (`PGSSLKEY`). Default: `~/.postgresql/postgresql.key`.
    pub sslkey: Option<PathBuf>,
    /// `options` (`PGOPTIONS`): command-line options for the server, such as `--cluster=name` or
    /// `-c statement_timeout=10s`. Default: none.
    pub options: Option<String>,
    /// `application_name` (`PGAPPNAME`). Default: the running program's name.
    pub application_name: String,
    /// `connect_timeout` (`PGCONNECT_TIMEOUT`, in seconds), for each host by itself. `None` waits for ever:
    /// zero or a negative number asks for that. Default: 10 seconds.
    pub connect_timeout: Option<Duration>,
}

/// One server: a name, an IP address, or the directory of a Unix socket, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name, address, or (beginning with `/`) directory.
    pub name: String,
    /// TCP port, or the number that the socket's file name ends in.
    pub port: u16,
}

/// A password. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// How much the connection is to be protected. See the table in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted if the server offers it.
    Prefer,
    /// Encrypted; the certificate is checked only if a root certificate is given.
    Require,
    /// Encrypted, and the certificate must come from an authority that is trusted.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must bear the host's name.
    VerifyFull,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// Those in this PEM file, and no others.
    File(PathBuf),
    /// `system`: those that the operating system trusts.
    System,
}

impl Config {
    /// Reads `DATABASE_URL` and the `PG*` variables, from the environment and, for those that are not set
    /// there, from the nearest `.env` in the working directory or above it.
    ///
    /// # Errors
    ///
    /// Neither `DATABASE_URL` nor `PGHOST` is set, or one of the values cannot be used.
    pub fn from_env() -> Result<Config, ConfigError> {
        let variables = PARAMETERS.iter().map(|(_, variable)| *variable);
        Config::from_environment(&Environment::read(
            variables.chain(REFUSED_VARIABLES).chain(["DATABASE_URL"]),
        )?)
    }

    /// Reads this URL instead of `DATABASE_URL`; what it leaves open comes from the `PG*` variables.
    ///
    /// # Errors
    ///
    /// The URL or one of the variables cannot be used.
    pub fn from_url(url: &str) -> Result<Config, ConfigError> {
        let variables = PARAMETERS.iter().map(|(_, variable)| *variable);
        let environment = Environment::read(variables.chain(REFUSED_VARIABLES))?;
        Settings::of_url(url.trim(), None, &environment)?.settle()
    }

    pub(crate) fn from_environment(environment: &Environment) -> Result<Config, ConfigError> {
        match environment.get("DATABASE_URL") {
            Some(url) => Settings::of_url(url.value.trim(), url.directory, environment)?.settle(),
            None if environment.get("PGHOST").is_some() => {
                Settings::of_variables(environment)?.settle()
            }
            None => Err(ConfigError::NotSet),
        }
    }

    /// The connection string that says all this, **with the password**.
    pub fn to_url(&self) -> String {
        self.format_url(self.password.as_ref().map(Password::reveal))
    }

    fn format_url(&self, password: Option<&str>) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::in_url).collect();
        let mut text = format!("postgresql://{}", url::encode(&self.user));
        if let Some(password) = password {
            text += &format!(":{password}", password = url::encode(password));
        }
        text += &format!(
            "@{}/{}?sslmode={}",
            hosts.join(","),
            url::encode(&self.dbname),
            self.sslmode.name()
        );

        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let root = self.sslrootcert.as_ref().map(|root| match root {
            RootCert::File(file) => path(file),
            RootCert::System => "system".to_owned(),
        });
        let seconds = self.connect_timeout.map_or(0, |timeout| timeout.as_secs());
        let rest = [
            ("sslrootcert", root),
            ("sslcert", self.sslcert.as_ref().map(path)),
            ("sslkey", self.sslkey.as_ref().map(path)),
            ("options", self.options.clone()),
            ("application_name", Some(self.application_name.clone())),
            ("connect_timeout", Some(seconds.to_string())),
        ];
        for (name, value) in rest {
            if let Some(value) = value {
                text += &format!("&{name}={}", url::encode(&value));
            }
        }
        text
    }
}

/// The connection string, with `***` for the password.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.format_url(self.password.as_ref().map(|_| "***"));
        f.write_str(&shown.replacen("%2A%2A%2A", "***", 1))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

impl Host {
    /// Whether this is a Unix socket's directory.
    pub fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// As it stands in a URL.
    fn in_url(&self) -> String {
        match self.name.contains(':') && !self.is_socket() {
            true => format!("[{}]:{}", self.name, self.port),
            false => format!("{}:{}", url::encode(&self.name), self.port),
        }
    }
}

/// `name:port`, with an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_socket(), self.name.contains(':')) {
            (true, _) => write!(f, "{}/.s.PGSQL.{}", self.name, self.port),
            (false, true) => write!(f, "[{}]:{}", self.name, self.port),
            (false, false) => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl Password {
    /// Keeps this password.
    pub fn new(password: impl Into<String>) -> Password {
        Password(password.into())
    }

    /// The password itself, to be handed to a driver.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SslMode {
    pub(crate) const ALL: [SslMode; 5] = [
        SslMode::Disable,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    /// libpq's name for it.
    pub fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}
