//! [`DatabaseUrl`]: the checked connection string, and the strings for the drivers.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openssl::ssl::SslConnector;

use crate::explain::{ConnectError, ensure, explain, refuse};
use crate::location::{self, Location, encode};
use crate::settings::{self, Settings};
use crate::tls::Tls;

/// A checked connection string. `Debug` shows the hosts only.
#[derive(Clone)]
pub struct DatabaseUrl {
    location: Location,
    settings: Settings,
    /// For each host.
    connect_timeout: Duration,
    tls: Tls,
    /// Built at its first use; clones share it.
    connector: Arc<OnceLock<Result<SslConnector, ConnectError>>>,
}

impl DatabaseUrl {
    /// Reads `DATABASE_URL` and the `PG…` variables of the process and of the nearest `.env`. Without
    /// `DATABASE_URL`, at least `PGHOST` and `PGUSER` must be set.
    ///
    /// # Errors
    ///
    /// Returns an error if neither `DATABASE_URL` nor `PGHOST` is set, if `.env` or a value is not
    /// valid, or if a file that is named is missing.
    pub fn from_env() -> Result<DatabaseUrl, ConnectError> {
        let variables = settings::variables()?;
        let url = variables.get("DATABASE_URL").map(String::as_str);
        // With PGHOST, the URL may be empty: each part comes from its variable.
        let url = url.or(variables.get("PGHOST").map(|_| "postgresql://"));
        let Some(url) = url else {
            return refuse(
                "DATABASE_URL is not set, or is empty\n\
                 Copy .env.example to .env and put your cluster's connection string there, or run \
                 `scripts/local-cluster start` for a cluster on this machine.",
            );
        };
        DatabaseUrl::read(url, &variables)
    }

    /// Reads a string. What it leaves out comes from the variables, then from the defaults.
    pub(crate) fn read(
        url: &str,
        variables: &HashMap<String, String>,
    ) -> Result<DatabaseUrl, ConnectError> {
        let (location, query) = location::split(url)?;
        let mut settings = settings::read(query, variables)?;
        let location = location::read(location, &settings)?;
        let timeout: u16 = settings["connect_timeout"].parse().unwrap_or_default();
        ensure(
            timeout > 0,
            "connect_timeout is not a whole number of seconds from 1 to 65535\nThe default is 10.",
        )?;
        ensure(
            ["disable", "random"].contains(&settings["load_balance_hosts"].as_str()),
            "load_balance_hosts is not disable or random\nThe default is disable.",
        )?;
        if settings["application_name"].is_empty() {
            let program = env::current_exe().unwrap_or_default();
            let name = program.file_stem().unwrap_or_default().to_string_lossy();
            settings.insert("application_name", name.into_owned());
        }
        Ok(DatabaseUrl {
            location,
            connect_timeout: Duration::from_secs(timeout.into()),
            tls: Tls::read(&settings)?,
            settings,
            connector: Arc::default(),
        })
    }

    /// Returns the string for `postgres` and `tokio-postgres`, and the OpenSSL connector that
    /// verifies the server. The connector is built once for this value and its clones.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does not accept a certificate file.
    pub fn for_rust_postgres(&self) -> Result<(String, SslConnector), ConnectError> {
        let build = || self.tls.connector().map_err(|error| self.explain(error));
        let connector = self.connector.get_or_init(build);
        // The connector verifies the certificate. The driver does not know `verify-full`.
        let [(sslmode, value), ..] = self.tls.parameters();
        let value = value.replace("verify-full", "require");
        let text = self.render(&[(sslmode, &value)], Some("30"));
        Ok((text, connector.clone()?))
    }

    /// Returns the string for libpq, which Diesel uses.
    pub fn for_libpq(&self) -> String {
        self.render(&self.tls.parameters(), Some("30000"))
    }

    /// Returns the string for sqlx, which SeaORM uses. It has no time limit and no keepalives: sqlx
    /// has no parameters for them.
    ///
    /// # Errors
    ///
    /// Returns an error if there are several hosts, or if sqlx would trust a file besides `system`.
    pub fn for_sqlx(&self) -> Result<String, ConnectError> {
        let [host] = self.location.hosts.as_slice() else {
            return refuse(
                "sqlx, which SeaORM uses too, takes one host, and the connection string has several\n\
                 Write the name of a load balancer, or one of the hosts.",
            );
        };
        ensure(
            self.tls.root != "system" || env::var_os("PGSSLROOTCERT").is_none(),
            "sqlx, which SeaORM uses too, would use PGSSLROOTCERT besides sslrootcert=system\nUnset PGSSLROOTCERT.",
        )?;
        let mut parameters = self.tls.parameters().to_vec();
        // Without `sslrootcert`, sqlx uses the certificates of the operating system.
        parameters.retain(|(_, value)| *value != "system");
        // sqlx keeps the brackets of an IPv6 address.
        let address = host.strip_prefix('[').and_then(|host| host.split_once(']'));
        parameters.extend(address.map(|(address, _)| ("host", address)));
        Ok(self.render(&parameters, None))
    }

    /// Returns one value for each host, in the order in which to try them.
    pub fn each_host(&self) -> impl Iterator<Item = DatabaseUrl> {
        let mut hosts = self.location.hosts.clone();
        if self.settings["load_balance_hosts"] == "random" {
            fastrand::shuffle(&mut hosts);
        }
        hosts.into_iter().map(|host| {
            let mut one = self.clone();
            one.location.hosts = vec![host];
            one
        })
    }

    /// Returns the time limit of one attempt to connect: `connect_timeout` for each host.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout * self.location.hosts.len() as u32
    }

    /// Returns the driver's error with the hosts before it, and what to do on the next line.
    pub fn explain(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
        let hosts = self.location.hosts.join(",");
        explain(&hosts, self.tls.root == "system", &*error.into())
    }

    /// Returns the string with these parameters about TLS. With `tcp_user_timeout`, in the driver's
    /// unit, it has the parameters that end a connection whose server has vanished: on Linux after 30
    /// seconds if a statement waits for its answer, else after 40.
    fn render(&self, tls: &[(&str, &str)], tcp_user_timeout: Option<&str>) -> String {
        let setting = |name| (name, self.settings[name].as_str());
        let mut all = vec![setting("application_name"), setting("options")];
        all.extend(tls);
        if let Some(tcp_user_timeout) = tcp_user_timeout {
            all.extend([setting("connect_timeout"), setting("load_balance_hosts")]);
            all.extend([("keepalives_idle", "30"), ("keepalives_interval", "10")]);
            all.push(("tcp_user_timeout", tcp_user_timeout));
        }
        all.retain(|(_, value)| !value.is_empty());
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encode(value));
        let query = all.iter().map(pair).collect::<Vec<_>>().join("&");
        let hosts = self.location.hosts.join(",");
        let (credentials, database) = (&self.location.credentials, &self.location.database);
        format!("postgresql://{credentials}@{hosts}/{database}?{query}")
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
        DatabaseUrl::read(url, &HashMap::new())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.location.hosts.join(","))
    }
}
