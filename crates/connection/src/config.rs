//! [`Config`]: what to connect to, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::url::encode;

/// The settings of a connection, the same for every driver.
///
/// Each field is the libpq parameter of the same name. `Debug` and `Display` show everything except the
/// password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `host` and `port` (`PGHOST`, `PGPORT`): the servers to try, in this order. Default: `localhost`,
    /// port 26257.
    pub hosts: Vec<Host>,
    /// `user` (`PGUSER`). Default: the operating system's user name.
    pub user: String,
    /// `password` (`PGPASSWORD`). Default: none. No password file is read.
    pub password: Option<Password>,
    /// `dbname` (`PGDATABASE`). Default: `defaultdb`.
    pub dbname: String,
    /// `sslmode` (`PGSSLMODE`). Default: `verify-full`.
    pub sslmode: SslMode,
    /// `sslrootcert` (`PGSSLROOTCERT`). Default: `~/.postgresql/root.crt` if it exists, else the operating
    /// system's certificates.
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
    /// `connect_timeout` (`PGCONNECT_TIMEOUT`, in seconds): the time limit for each address. `None` waits
    /// for ever; zero or a negative number in the settings means this. Default: 10 seconds.
    pub connect_timeout: Option<Duration>,
    /// `load_balance_hosts` (`PGLOADBALANCEHOSTS`): `true` (`random`) tries the hosts, and the addresses of
    /// each host, in random order. Default: `false` (`disable`).
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

/// A password that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// How the connection is protected: see the table in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
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
        self.format_url(
            self.password
                .as_ref()
                .map(|password| encode(password.reveal())),
        )
    }

    fn format_url(&self, password: Option<String>) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::in_url).collect();
        let (user, hosts) = (encode(&self.user), hosts.join(","));
        let (dbname, sslmode) = (encode(&self.dbname), self.sslmode.name());
        let password = password
            .map(|password| format!(":{password}"))
            .unwrap_or_default();
        let mut text = format!("postgresql://{user}{password}@{hosts}/{dbname}?sslmode={sslmode}");

        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let root = self.sslrootcert.as_ref().map(|root| match root {
            RootCert::File(file) => path(file),
            RootCert::System => "system".to_owned(),
        });
        // Rounded up: zero means "for ever".
        let seconds = |limit: Duration| limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
        let rest = [
            ("sslrootcert", root),
            ("sslcert", self.sslcert.as_ref().map(path)),
            ("sslkey", self.sslkey.as_ref().map(path)),
            ("options", self.options.clone()),
            ("application_name", Some(self.application_name.clone())),
            (
                "connect_timeout",
                Some(self.connect_timeout.map_or(0, seconds).to_string()),
            ),
            (
                "load_balance_hosts",
                self.load_balance_hosts.then(|| "random".to_owned()),
            ),
        ];
        for (name, value) in rest {
            if let Some(value) = value {
                text += &format!("&{name}={}", encode(&value));
            }
        }
        text
    }
}

/// The connection string, with `***` for the password.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format_url(self.password.as_ref().map(|_| "***".to_owned())))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

impl Host {
    fn in_url(&self) -> String {
        if self.name.contains(':') {
            // A zone (fe80::1%eth0) has a percent sign, which is encoded.
            format!("[{}]:{}", encode(&self.name).replace("%3A", ":"), self.port)
        } else {
            format!("{}:{}", encode(&self.name), self.port)
        }
    }
}

/// `name:port`, with an IPv6 address in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
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
    pub(crate) const ALL: [SslMode; 4] = [
        SslMode::Disable,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

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
