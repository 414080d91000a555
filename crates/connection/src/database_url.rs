//! [`DatabaseUrl`]: the checked connection string, and the strings for the drivers.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use openssl::ssl::SslConnector;

use crate::explain::{ConnectError, ensure, explain, refuse};
use crate::location::{self, encode};
use crate::settings::{self, SETTINGS, Settings};
use crate::tls::{self, TLS};

/// A checked connection string. `Debug` shows the hosts only.
#[derive(Clone)]
pub struct DatabaseUrl {
    /// Checked. `host` is a list of `host:port`, and the files are absolute paths.
    settings: Settings,
    /// Clones share it: a pool holds one.
    password: Arc<Mutex<String>>,
    /// Built at its first use; clones share it.
    connector: Arc<OnceLock<SslConnector>>,
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
                 `scripts/local-cluster start` for a server on this machine.",
            );
        };
        DatabaseUrl::read(url, &variables)
    }

    /// Reads a string. What it leaves out comes from the variables, then from the defaults.
    pub(crate) fn read(
        url: &str,
        variables: &HashMap<String, String>,
    ) -> Result<DatabaseUrl, ConnectError> {
        DatabaseUrl::check(settings::read(url, variables)?)
    }

    fn check(mut settings: Settings) -> Result<DatabaseUrl, ConnectError> {
        let hosts = location::hosts(&settings["host"], &settings["port"])?;
        settings.insert("host", hosts);
        ensure(
            !settings["user"].is_empty(),
            "there is no user\nWrite postgresql://USER:PASSWORD@HOST:26257/DATABASE, or set PGUSER.",
        )?;
        ensure(
            settings["connect_timeout"].parse::<NonZeroU16>().is_ok(),
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
        tls::check(&mut settings)?;
        Ok(DatabaseUrl {
            password: Arc::new(Mutex::new(settings["password"].clone())),
            settings,
            connector: Arc::default(),
        })
    }

    /// Returns the value of a setting by its name in the [table](crate#parameters), completed and
    /// decoded: `host` is a list of `host:port`. A setting that does not exist is empty.
    pub fn get(&self, name: &str) -> String {
        match name {
            "password" => self.password().clone(),
            _ => self.settings.get(name).cloned().unwrap_or_default(),
        }
    }

    /// Returns a copy with another value of a setting. It shares nothing with this value.
    ///
    /// # Errors
    ///
    /// Returns an error if the name or the value is not valid, or if a file that is named is missing.
    pub fn with(&self, name: &str, value: &str) -> Result<DatabaseUrl, ConnectError> {
        ensure(name != "port", "the port is a part of host: HOST:PORT")?;
        let mut settings = self.settings.clone();
        settings.insert("password", self.get("password"));
        settings.insert(settings::known(name)?, value.to_owned());
        DatabaseUrl::check(settings)
    }

    /// Sets the password of this value and its clones. Each new connection uses it, also in a pool
    /// that holds a clone.
    pub fn set_password(&self, password: &str) {
        password.clone_into(&mut self.password());
    }

    fn password(&self) -> MutexGuard<'_, String> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the string for `postgres` and `tokio-postgres`, and the OpenSSL connector that
    /// verifies the server. The connector is built once for this value and its clones.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does not accept a certificate file.
    pub fn for_rust_postgres(&self) -> Result<(String, SslConnector), ConnectError> {
        let connector = match self.connector.get() {
            Some(connector) => connector,
            None => {
                let built = tls::connector(&self.settings).map_err(|error| self.explain(error))?;
                self.connector.get_or_init(|| built)
            }
        };
        // The connector verifies the certificate. The driver does not know `verify-full`.
        let sslmode = self.settings["sslmode"].replace("verify-full", "require");
        let text = self.render(&[("sslmode", &sslmode)], Some("30"));
        Ok((text, connector.clone()))
    }

    /// Returns the string for libpq, which Diesel uses.
    pub fn for_libpq(&self) -> String {
        self.render(&TLS.map(|name| self.setting(name)), Some("30000"))
    }

    /// Returns the string for sqlx, which SeaORM uses. It has no time limit and no keepalives: sqlx
    /// has no parameters for them.
    ///
    /// # Errors
    ///
    /// Returns an error if there are several hosts, or if sqlx would read a file that only a variable
    /// names.
    pub fn for_sqlx(&self) -> Result<String, ConnectError> {
        let host = &self.settings["host"];
        ensure(
            !host.contains(','),
            "sqlx, which SeaORM uses too, takes one host, and the connection string has several\n\
             Write the name of a load balancer, or one of the hosts, or change the host with the recipe \
             first_host (examples/sqlx/README.md).",
        )?;
        let mut parameters = TLS.map(|name| self.setting(name)).to_vec();
        // Without `sslrootcert`, sqlx uses the certificates of the operating system.
        parameters.retain(|(_, value)| !["", "system"].contains(value));
        let is_encrypted = self.settings["sslmode"] != "disable";
        for (name, variable, _) in SETTINGS {
            // sqlx reads these variables too, as names of files even if they are empty.
            let is_file = is_encrypted && TLS[1..].contains(&name);
            let is_missing = is_file && ["", "system"].contains(&self.setting(name).1);
            ensure(
                !is_missing || env::var_os(variable).is_none(),
                &format!(
                    "sqlx, which SeaORM uses too, would use {variable} besides the connection string\nUnset {variable}."
                ),
            )?;
        }
        // sqlx keeps the brackets of an IPv6 address.
        let address = host.strip_prefix('[').and_then(|host| host.split_once(']'));
        parameters.extend(address.map(|(address, _)| ("host", address)));
        Ok(self.render(&parameters, None))
    }

    /// Returns one value for each host, in the order in which to try them.
    pub fn each_host(&self) -> impl Iterator<Item = DatabaseUrl> {
        let mut hosts: Vec<_> = self.settings["host"].split(',').collect();
        if self.settings["load_balance_hosts"] == "random" {
            fastrand::shuffle(&mut hosts);
        }
        hosts.into_iter().map(|host| {
            let mut one = self.clone();
            one.settings.insert("host", host.to_owned());
            one
        })
    }

    /// Calls `connect` for each host until one succeeds.
    ///
    /// # Errors
    ///
    /// Returns the errors of all hosts if none succeeds.
    pub fn first_host<T>(
        &self,
        connect: impl Fn(DatabaseUrl) -> Result<T, ConnectError>,
    ) -> Result<T, ConnectError> {
        let mut errors = Vec::new();
        for host in self.each_host() {
            match connect(host) {
                Ok(connection) => return Ok(connection),
                Err(error) => errors.push(error.to_string()),
            }
        }
        refuse(&errors.join("\n"))
    }

    /// Returns the time limit of one attempt to connect: `connect_timeout` for each host.
    pub fn connect_timeout(&self) -> Duration {
        let seconds = self.settings["connect_timeout"].parse().unwrap_or(10);
        Duration::from_secs(seconds) * self.settings["host"].split(',').count() as u32
    }

    /// Returns the driver's error with the hosts before it, and what to do on the next line.
    pub fn explain(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
        let system_roots = self.settings["sslrootcert"] == "system";
        explain(&self.settings["host"], system_roots, &*error.into())
    }

    /// Returns the string with these parameters about TLS. With `tcp_user_timeout`, in the driver's
    /// unit, it has the parameters that end a connection whose server has vanished: on Linux after 30
    /// seconds if a statement waits for its answer, else after 40.
    fn render(&self, tls: &[(&str, &str)], tcp_user_timeout: Option<&str>) -> String {
        let mut all = vec![self.setting("application_name"), self.setting("options")];
        all.extend(tls);
        if let Some(tcp_user_timeout) = tcp_user_timeout {
            all.push(self.setting("connect_timeout"));
            all.extend([("keepalives_idle", "30"), ("keepalives_interval", "10")]);
            all.push(("tcp_user_timeout", tcp_user_timeout));
        }
        all.retain(|(_, value)| !value.is_empty());
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encode(value));
        let query = all.iter().map(pair).collect::<Vec<_>>().join("&");
        let hosts = &self.settings["host"];
        let [user, password, database] =
            ["user", "password", "dbname"].map(|name| encode(&self.get(name)));
        // Without a password there is no ":", so that the driver looks into its password file.
        let colon = if password.is_empty() { "" } else { ":" };
        format!("postgresql://{user}{colon}{password}@{hosts}/{database}?{query}")
    }

    fn setting(&self, name: &'static str) -> (&str, &str) {
        (name, &self.settings[name])
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
        write!(f, "DatabaseUrl({})", self.settings["host"])
    }
}
