//! The servers to try, in order, and what is said when none of them lets us in.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::config::{Config, Host, SslMode};
use crate::error::ConfigError;
use crate::failure::{Failure, Reach};
use crate::probe::ProbeError;
use crate::tls::Tls;

/// One server, and how to talk to it.
#[derive(Clone)]
pub struct Server<'a> {
    /// User, database and everything else that is the same for all hosts.
    pub config: &'a Config,
    /// The host to connect to.
    pub host: &'a Host,
    /// How to encrypt; `None` for plain text.
    pub tls: Option<Arc<Tls>>,
}

/// The servers of a [`Config`], one after the other.
///
/// The order is libpq's: the hosts as they are listed; for `sslmode=prefer` each with TLS first, then in
/// plain text where TLS was the obstacle; no further host once a server has refused user or password.
///
/// ```no_run
/// # fn connect_to(server: &crdb_connection::Server) -> Result<(), std::io::Error> { Ok(()) }
/// # fn connect(config: &crdb_connection::Config) -> Result<(), crdb_connection::ConnectError> {
/// let mut attempts = config.attempts()?;
/// while let Some(server) = attempts.next_server() {
///     match connect_to(&server) {
///         Ok(connection) => return Ok(connection),
///         Err(error) => attempts.failed(&server, &error),
///     }
/// }
/// Err(attempts.into_error())
/// # }
/// ```
pub struct Attempts<'a> {
    config: &'a Config,
    left: VecDeque<Server<'a>>,
    failures: Vec<(&'a Host, Failure)>,
}

impl Config {
    /// The servers to try, with the certificates of `sslrootcert`, `sslcert` and `sslkey` read.
    ///
    /// # Errors
    ///
    /// One of these files cannot be used.
    pub fn attempts(&self) -> Result<Attempts<'_>, ConfigError> {
        let tls = Tls::settle(self)?.map(Arc::new);
        let mut left = VecDeque::new();
        for host in &self.hosts {
            let tls = tls.clone().filter(|_| !host.is_socket());
            let falls_back = tls.is_some() && self.sslmode == SslMode::Prefer;
            left.push_back(Server {
                config: self,
                host,
                tls,
            });
            if falls_back {
                left.push_back(Server {
                    config: self,
                    host,
                    tls: None,
                });
            }
        }
        Ok(Attempts {
            config: self,
            left,
            failures: Vec::new(),
        })
    }
}

impl<'a> Attempts<'a> {
    /// The next server to try.
    pub fn next_server(&mut self) -> Option<Server<'a>> {
        self.left.pop_front()
    }

    /// Takes note of a driver's error and of what is still worth trying after it.
    pub fn failed(&mut self, server: &Server<'a>, error: &(dyn Error + 'static)) {
        let mut failure = Failure::of(error);
        // Drivers tell that a certificate was not accepted, but not all of them why.
        let vague = matches!(failure, Failure::UnknownAuthority | Failure::OtherName(_));
        if vague && let Err(ProbeError(exact)) = server.probe().run() {
            failure = exact;
        }
        // sqlx sends an empty password where there is none.
        if failure == Failure::WrongPassword && self.config.password.is_none() {
            failure = Failure::NoPassword;
        }
        match failure.reach() {
            Reach::Encryption => {}
            Reach::Host => self.left.retain(|left| left.host != server.host),
            Reach::Everything => self.left.clear(),
        }
        self.failures.push((server.host, failure));
    }

    /// What to tell the person when no server is left.
    pub fn into_error(self) -> ConnectError {
        let config = self.config;
        let tell =
            |(host, failure): &(&Host, Failure)| format!("{host}: {}", failure.reason(config));
        let mut told: Vec<String> = self.failures.iter().map(tell).collect();
        told.dedup();
        let mut message = match told.as_slice() {
            [only] => format!("could not connect to {only}"),
            several => format!("could not connect\n  {}", several.join("\n  ")),
        };
        let hint = self
            .failures
            .last()
            .map(|(_, failure)| failure.hint(config))
            .unwrap_or_default();
        if !hint.is_empty() {
            message = format!("{message}\n{hint}");
        }
        ConnectError::NoServer { message }
    }
}

/// No connection. The message says what was tried, what went wrong and what to do; the password is not in
/// it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// None of the servers let us in.
    #[error("{message}")]
    NoServer {
        /// What was tried, what went wrong, what to do.
        message: String,
    },
}

/// As `Display`: this is what `unwrap` shows a person.
impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
