//! [`DatabaseUrl`]: its sources, and the strings for the drivers.

use std::env;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use openssl::ssl::SslConnector;

use crate::explain::{ConnectError, ensure, explain, refuse};
use crate::location::{self, Location, encode};
use crate::parameters::{self, PARAMETERS, Parameters};
use crate::tls::connector;

/// A checked connection string. `Debug` shows the hosts only.
#[derive(Clone)]
pub struct DatabaseUrl {
    location: Location,
    parameters: Parameters,
}

impl DatabaseUrl {
    /// Reads `DATABASE_URL` and the `PG…` variables, after loading the nearest `.env`. Without
    /// `DATABASE_URL`, at least `PGHOST` and `PGUSER` must be set.
    ///
    /// # Errors
    ///
    /// Returns an error if neither `DATABASE_URL` nor `PGHOST` is set, if `.env` or a value is not
    /// valid, or if a file that is named is missing.
    pub fn from_env() -> Result<DatabaseUrl, ConnectError> {
        load_dotenv()?;
        let variable = |name: &str| {
            // Bytes that are not UTF-8 are replaced, so that they fail later and are not ignored.
            let value = env::var_os(name)?.to_string_lossy().into_owned();
            // A value that was read from a file often ends with a line feed.
            let value = value.trim_end_matches(['\r', '\n']);
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        // With PGHOST, the URL may be empty: each part comes from its variable.
        let from_parts = || variable("PGHOST").map(|_| "postgresql://".to_owned());
        let Some(url) = variable("DATABASE_URL").or_else(from_parts) else {
            return refuse(
                "DATABASE_URL is not set, or is empty\n\
                 Copy .env.example to .env and put your cluster's connection string there, or run \
                 `scripts/local-cluster start` for a cluster on this machine.",
            );
        };
        DatabaseUrl::read(&url, &variable)
    }

    /// Reads a string. What it leaves out comes from the variables, then from the defaults.
    pub(crate) fn read(
        url: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        let (location, query) = location::read(url, variable)?;
        let parameters = parameters::read(query, variable)?;
        Ok(DatabaseUrl {
            location,
            parameters,
        })
    }

    /// Returns the string for `postgres` and `tokio-postgres`, and the OpenSSL connector that
    /// verifies the server.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does not accept a certificate file.
    pub fn for_rust_postgres(&self) -> Result<(String, SslConnector), ConnectError> {
        let connector = connector(&self.parameters).map_err(|error| self.explain(error))?;
        // The connector verifies the certificate. The driver does not know `verify-full`.
        let sslmode = self.parameters["sslmode"].replace("verify-full", "require");
        let tls = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
        let mut with = vec![("sslmode", sslmode.as_str())];
        with.extend(keepalives("30"));
        Ok((self.render(&tls, &with), connector))
    }

    /// Returns the string for libpq, which Diesel uses.
    pub fn for_libpq(&self) -> String {
        // In milliseconds here, in seconds for rust-postgres.
        self.render(&[], &keepalives("30000"))
    }

    /// Returns the string for sqlx, which SeaORM uses. It has no time limit and no keepalives: sqlx
    /// has no parameters for them.
    ///
    /// # Errors
    ///
    /// Returns an error if there are several hosts, or if sqlx would read a variable by itself that
    /// the string overrides.
    pub fn for_sqlx(&self) -> Result<String, ConnectError> {
        let [host] = self.location.hosts.as_slice() else {
            return refuse(
                "sqlx, SeaORM's driver, takes one host, and the connection string has several\n\
                 Write the name of a load balancer, or one of the hosts.",
            );
        };
        // Without `sslrootcert`, sqlx uses the certificates of the operating system.
        let mut own = self.clone();
        own.parameters
            .retain(|name, value| *name != "sslrootcert" || value != "system");
        // sqlx reads these variables by itself, and sends PGOPTIONS in addition to `options`.
        for (name, variable, _) in PARAMETERS {
            let value = own.parameters.get(name);
            let conflict = match env::var(variable) {
                Ok(other) if name == "options" => !other.is_empty() && value != Some(&other),
                Ok(_) if name.starts_with("ssl") => value.is_none() && own.is_encrypted(),
                _ => false,
            };
            if conflict {
                return refuse(&format!(
                    "sqlx, SeaORM's driver, would use {variable} against the connection string\n\
                     Unset {variable}."
                ));
            }
        }
        // sqlx keeps the brackets of an IPv6 address.
        let address = host.strip_prefix('[').and_then(|host| host.split_once(']'));
        let with = address.map(|(address, _)| ("host", address));
        Ok(own.render(&["connect_timeout"], with.as_slice()))
    }

    /// Returns the time limit of one attempt to connect: `connect_timeout` for each host.
    pub fn connect_timeout(&self) -> Duration {
        let seconds = self.parameters["connect_timeout"].parse::<u16>();
        let seconds = seconds.expect("it was checked");
        Duration::from_secs(seconds.into()) * self.location.hosts.len() as u32
    }

    /// Returns the driver's error with the hosts before it, and what to do on the next line.
    pub fn explain(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
        explain(&self.location.hosts.join(","), &*error.into())
    }

    fn is_encrypted(&self) -> bool {
        self.parameters["sslmode"] != "disable"
    }

    fn render(&self, without: &[&str], with: &[(&str, &str)]) -> String {
        let own = self.parameters.iter();
        let own = own.map(|(name, value)| (*name, value.as_str()));
        let own = own.filter(|(name, _)| !without.contains(name));
        let query = own.chain(with.iter().copied());
        let query = query.map(|(name, value)| format!("{name}={}", encode(value)));
        let query = query.collect::<Vec<_>>().join("&");
        format!("postgresql://{}?{query}", self.location.text)
    }
}

/// Returns the parameters that end a connection whose server has vanished: on Linux after 30 seconds
/// if a statement waits for its answer, else after 40.
fn keepalives(user_timeout: &str) -> [(&'static str, &str); 3] {
    [
        ("keepalives_idle", "30"),
        ("keepalives_interval", "10"),
        ("tcp_user_timeout", user_timeout),
    ]
}

/// Loads the nearest `.env`. No line is shown: it may contain a password.
fn load_dotenv() -> Result<(), ConnectError> {
    let mut items = dotenvy::dotenv_iter().into_iter().flatten().flatten();
    ensure(
        items.all(|(_, value)| !value.contains('\0')),
        "a value of .env contains a NUL byte\nRemove it.",
    )?;
    match dotenvy::dotenv() {
        Err(dotenvy::Error::LineParse(..)) => refuse(
            "a line of .env is not NAME=value\n\
             Put a value with spaces, quotes or a $ into single quotes.",
        ),
        Err(error) if !error.not_found() => refuse(&format!("cannot read .env: {error}")),
        _ => Ok(()),
    }
}

/// Reads the string alone, without any variable.
///
/// # Errors
///
/// Returns an error if the string is not valid, or if a file that it names is missing.
impl FromStr for DatabaseUrl {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<DatabaseUrl, ConnectError> {
        DatabaseUrl::read(url, &|_| None)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.location.hosts.join(","))
    }
}
