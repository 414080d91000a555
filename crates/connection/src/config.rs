//! [`Config`]: what to connect to, and how.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::ConfigError;
use crate::url::encode;

/// The settings of a connection, the same for every driver.
///
/// Each field is the libpq parameter of the same name. `Debug` and `Display` are the connection
/// string, with `***` for the password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `host` and `port` (`PGHOST`, `PGPORT`): the servers to try, in this order. Default:
    /// `localhost`, port 26257.
    pub hosts: Vec<Host>,
    /// `user` (`PGUSER`). Default: the operating system's user name.
    pub user: String,
    /// `password` (`PGPASSWORD`). Default: none. No password file is read.
    pub password: Option<Password>,
    /// `dbname` (`PGDATABASE`). Default: `defaultdb`.
    pub dbname: String,
    /// `sslmode` (`PGSSLMODE`). Default: `verify-full`.
    pub sslmode: SslMode,
    /// `sslrootcert` (`PGSSLROOTCERT`). Default: `~/.postgresql/root.crt` if it exists, else the
    /// operating system's certificates.
    pub sslrootcert: Option<RootCert>,
    /// `sslcert` (`PGSSLCERT`). Default: `~/.postgresql/postgresql.crt` if it exists.
    pub sslcert: Option<PathBuf>,
    /// `sslkey` (`PGSSLKEY`). Default: `~/.postgresql/postgresql.key`.
    pub sslkey: Option<PathBuf>,
    /// `options` (`PGOPTIONS`): command-line options for the server, such as `--cluster=name` or
    /// `-c statement_timeout=10s`. Default: none.
    pub options: Option<String>,
    /// `application_name` (`PGAPPNAME`). Default: the running program's name.
    pub application_name: String,
    /// `connect_timeout` (`PGCONNECT_TIMEOUT`, in seconds): the time limit for each address. `None`
    /// (zero or a negative number in the settings) waits for ever. Default: 10 seconds.
    pub connect_timeout: Option<Duration>,
    /// `load_balance_hosts` (`PGLOADBALANCEHOSTS`): `true` (`random`) tries the hosts, and the
    /// addresses of each host, in random order. Default: `false` (`disable`).
    pub load_balance_hosts: bool,
}

/// The name or IP address of a server, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Host name or IP address, without brackets.
    pub name: String,
    /// TCP port.
    pub port: u16,
}

/// A password that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// How the connection is protected: see the table in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted; the certificate is checked only if a root certificate is given.
    Require,
    /// Encrypted, and a trusted authority must have issued the certificate.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must contain the host's name.
    VerifyFull,
}

/// The authorities that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// Those in this PEM file, and no others.
    File(PathBuf),
    /// `system`: those that the operating system trusts.
    System,
}

impl Config {
    /// Returns the connection string for these settings, **with the password**.
    pub fn to_url(&self) -> String {
        let (user, dbname) = (encode(&self.user), encode(&self.dbname));
        let password = self.password.as_ref().map(|Password(text)| encode(text));
        let password = password.map_or_else(String::new, |password| format!(":{password}"));
        // The colons of an IPv6 address stay, the percent sign of its zone (fe80::1%eth0) does not.
        let hosts = self.hosts.iter().map(|host| {
            let name = encode(&host.name).replace("%3A", ":");
            Host { name, ..*host }.to_string()
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let root = |root: &RootCert| match root {
            RootCert::File(file) => path(file),
            RootCert::System => "system".to_owned(),
        };
        // Rounded up: zero means "for ever".
        let seconds = |limit: Duration| limit.as_nanos().div_ceil(1_000_000_000);
        let timeout = self.connect_timeout.map_or(0, seconds).to_string();
        let order = self.load_balance_hosts.then(|| "random".to_owned());
        let parameters = [
            ("sslrootcert", self.sslrootcert.as_ref().map(root)),
            ("sslcert", self.sslcert.as_deref().map(path)),
            ("sslkey", self.sslkey.as_deref().map(path)),
            ("options", self.options.clone()),
            ("application_name", Some(self.application_name.clone())),
            ("connect_timeout", Some(timeout)),
            ("load_balance_hosts", order),
        ];
        let sslmode = self.sslmode.name();
        let mut url = format!("postgresql://{user}{password}@{hosts}/{dbname}?sslmode={sslmode}");
        for (name, value) in parameters {
            if let Some(value) = value {
                url += &format!("&{name}={}", encode(&value));
            }
        }
        url
    }

    /// Returns `options` as names and values (`-c name=value`, `--name=value`), for a driver that
    /// does not accept it as one text.
    ///
    /// # Errors
    ///
    /// Returns an error if there is another kind of option, or a backslash.
    pub fn server_settings(&self) -> Result<Vec<(&str, &str)>, ConfigError> {
        let options = self.options.as_deref().unwrap_or_default();
        let mut words = options.split_ascii_whitespace();
        let mut settings = Vec::new();
        while let Some(word) = words.next() {
            let setting = match word {
                "-c" => words.next(),
                _ => word.strip_prefix("-c").or_else(|| word.strip_prefix("--")),
            };
            let pair = setting.and_then(|setting| setting.split_once('='));
            settings.push(pair.filter(|_| !options.contains('\\')).ok_or(
                "options is not valid: this driver accepts only -c name=value and --name=value, \
                 without backslashes",
            )?);
        }
        Ok(settings)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        shown.password = shown.password.map(|_| Password::new("***"));
        f.write_str(&shown.to_url())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

/// `name:port`, with an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { name, port } = self;
        if name.contains(':') {
            return write!(f, "[{name}]:{port}");
        }
        write!(f, "{name}:{port}")
    }
}

impl Password {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Password {
        Password(password.into())
    }

    /// Returns the password itself, to be passed to a driver.
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
    /// Returns libpq's name for this mode.
    pub fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}
