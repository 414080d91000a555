//! Tries the servers until one accepts the connection: [`Config::connect_with`] and its asynchronous variants, [`ConnectError`].

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::advice::{advice, reason};
use crate::certificate;
use crate::config::{Config, Host};
use crate::error::ConfigError;
use crate::failure::{AttemptError, Kind, Source};
use crate::tls::Tls;

/// The time limit without a `connect_timeout`: a year, which every driver's clock can add.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The time limit for the look at a server after a failed attempt.
const LOOK: Duration = Duration::from_secs(2);

/// What a driver needs for one attempt to connect.
#[derive(Clone)]
pub struct Server {
    /// User, database and all other settings.
    pub config: Arc<Config>,
    /// The name and the port to connect to. The certificate is verified against this name.
    pub host: Host,
    /// How to encrypt; `None` for a connection without encryption.
    pub tls: Option<Arc<Tls>>,
    /// What is left of `connect_timeout`; about a year if there is no limit.
    pub time_limit: Duration,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Returns the one address of the host to connect to, libpq's `hostaddr`. `None` for an IPv6
    /// address with a zone, which only the host name can express.
    pub fn hostaddr(&self) -> Option<IpAddr> {
        match self.addresses.first()? {
            SocketAddr::V6(address) if address.scope_id() != 0 => None,
            address => Some(address.ip()),
        }
    }
}

impl Config {
    /// Connects with a blocking driver: calls `connect` for each address of each host, until one
    /// call returns a connection.
    ///
    /// The order is libpq's: the hosts as listed and the addresses as the operating system returns
    /// them, or both at random with `load_balance_hosts=random`. Each address has a
    /// `connect_timeout` of its own, and the first of a host includes the name resolution. The
    /// search ends when a server refuses the password or the certificate.
    ///
    /// Each call runs on a thread of its own, so that the limit also holds for a server that
    /// accepts the connection and then does not answer. After the limit the thread is abandoned: it
    /// and its connection end when the driver's call returns.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate file cannot be used, or if no server accepts the
    /// connection.
    pub fn connect_with<T, F>(&self, connect: F) -> Result<T, ConnectError>
    where
        T: Send + 'static,
        F: Fn(Server) -> Result<T, AttemptError> + Send + Sync + 'static,
    {
        let connect = Arc::new(connect);
        let mut search = Search::new(self, 1)?;
        while let Some(server) = search.next_server() {
            let (connect, attempt) = (Arc::clone(&connect), server.clone());
            let result = run_within(server.time_limit, move || connect(attempt));
            match result.unwrap_or_else(|| Err(timed_out().into())) {
                Ok(connection) => return Ok(connection),
                Err(error) => search.failed(&server, error),
            }
        }
        Err(search.into_error())
    }

    /// Connects with an asynchronous driver, on any runtime. Like [`Config::connect_with`].
    ///
    /// `connect` must end each attempt after [`Server::time_limit`], with an [`io::Error`] of kind
    /// `TimedOut`: `tokio::time::timeout(server.time_limit, …).await` and [`io::Error::from`] do
    /// this. The future is `Send` if `connect` and its future are, and never blocks its thread.
    pub async fn connect_with_async<T>(
        &self,
        connect: impl AsyncFn(Server) -> Result<T, AttemptError>,
    ) -> Result<T, ConnectError> {
        Search::new(self, 1)?.run(connect).await
    }

    /// Connects with an asynchronous driver that resolves host names itself: as
    /// [`Config::connect_with_async`], with one call for each host. The time limit of a call is
    /// `connect_timeout` times the number of the host's addresses.
    pub async fn connect_by_name_async<T>(
        &self,
        connect: impl AsyncFn(Server) -> Result<T, AttemptError>,
    ) -> Result<T, ConnectError> {
        Search::new(self, usize::MAX)?.run(connect).await
    }
}

struct Search {
    config: Arc<Config>,
    tls: Option<Arc<Tls>>,
    addresses_per_attempt: usize,
    /// The hosts whose names are not resolved yet.
    hosts: VecDeque<Host>,
    /// What is left to try of the current host.
    servers: VecDeque<Server>,
    /// The host and the reason of each failure, and the last one's kind and error.
    failures: Vec<(Host, String)>,
    last: Option<(Kind, Source)>,
}

impl Search {
    fn new(config: &Config, addresses_per_attempt: usize) -> Result<Search, ConfigError> {
        let mut hosts = config.hosts.clone();
        if config.load_balance_hosts {
            fastrand::shuffle(&mut hosts);
        }
        Ok(Search {
            config: Arc::new(config.clone()),
            tls: Tls::resolve(config)?.map(Arc::new),
            addresses_per_attempt,
            hosts: hosts.into(),
            servers: VecDeque::new(),
            failures: Vec::new(),
            last: None,
        })
    }

    /// Runs the search without blocking the caller's thread.
    async fn run<T>(
        mut self,
        connect: impl AsyncFn(Server) -> Result<T, AttemptError>,
    ) -> Result<T, ConnectError> {
        let mut failed = None;
        loop {
            let work = move || {
                if let Some((server, error)) = failed {
                    self.failed(&server, error);
                }
                (self.next_server(), self)
            };
            let next;
            (next, self) = on_thread(work).await;
            let Some(server) = next else {
                return Err(self.into_error());
            };
            match connect(server.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some((server, error)),
            }
        }
    }

    /// Returns the next server to try. Resolves the next host's name if necessary.
    fn next_server(&mut self) -> Option<Server> {
        while self.servers.is_empty() {
            let host = self.hosts.pop_front()?;
            let limit = self.config.connect_timeout.unwrap_or(FOREVER);
            let start = Instant::now();
            let at = host.clone();
            let resolved = run_within(limit, move || resolve(&at));
            let mut addresses =
                resolved
                    .unwrap_or_else(|| Err(timed_out()))
                    .unwrap_or_else(|error| {
                        self.record(host.clone(), Kind::HostNotFound, "", error.into());
                        Vec::new()
                    });
            if self.config.load_balance_hosts {
                fastrand::shuffle(&mut addresses);
            }
            let groups = addresses.chunks(self.addresses_per_attempt);
            let servers = groups.map(|addresses| Server {
                config: Arc::clone(&self.config),
                host: host.clone(),
                tls: self.tls.clone(),
                time_limit: limit.saturating_mul(addresses.len() as u32),
                addresses: addresses.to_vec(),
            });
            self.servers = servers.collect();
            if let Some(first) = self.servers.front_mut() {
                first.time_limit = first.time_limit.saturating_sub(start.elapsed());
            }
        }
        self.servers.pop_front()
    }

    /// Records why an attempt failed. Connects once more to find the reason if the error is not exact.
    fn failed(&mut self, server: &Server, error: AttemptError) {
        let (mut kind, mut detail) = error.classify();
        let at = server.clone();
        let look = move || certificate::look(kind, &at.addresses, &at.host.name, at.tls.as_deref());
        if let Some(Some(exact)) = run_within(LOOK, look) {
            (kind, detail) = exact;
        }
        if kind == Kind::Password && self.config.password.is_none() {
            // sqlx sends an empty password if there is none.
            kind = Kind::NoPassword;
        }
        if kind.ends_search() {
            self.hosts.clear();
            self.servers.clear();
            // This answer replaces the failures of the host's other addresses.
            self.failures.retain(|(host, _)| *host != server.host);
        }
        self.record(server.host.clone(), kind, &detail, error.source);
    }

    fn record(&mut self, host: Host, kind: Kind, detail: &str, source: Source) {
        let failure = (host, reason(kind, detail, &self.config));
        if !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
        self.last = Some((kind, source));
    }

    fn into_error(self) -> ConnectError {
        let Some((kind, source)) = self.last else {
            return ConfigError::from("there is no host to connect to").into();
        };
        if kind == Kind::Settings {
            return ConfigError::from(source.to_string()).into();
        }
        let mut text = "could not connect".to_owned();
        let before = match self.failures.len() {
            1 => " to ",
            _ => "\n  ",
        };
        for (host, reason) in &self.failures {
            text += &format!("{before}{host}: {reason}");
        }
        text = format!("{text}\n{}", advice(kind, &self.config));
        text.truncate(text.trim_end().len());
        let source = Some(source);
        ConnectError { kind, text, source }
    }
}

/// Why no server accepted the connection.
///
/// The message says what was tried, what went wrong and what to do; it does not contain the
/// password. `Debug` is `Display`. The source is the driver's error.
#[derive(thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    kind: Kind,
    text: String,
    source: Option<Source>,
}

impl ConnectError {
    /// Returns why the last attempt failed.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> ConnectError {
        let (kind, text, source) = (Kind::Settings, error.to_string(), None);
        ConnectError { kind, text, source }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Resolves a host name. The operating system's function has no time limit.
fn resolve(host: &Host) -> io::Result<Vec<SocketAddr>> {
    Ok((host.name.as_str(), host.port).to_socket_addrs()?.collect())
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Runs `work` on a thread and returns its result, or `None` if it takes longer than `limit`. After
/// the limit the thread is abandoned and its result is dropped.
fn run_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => None,
        received => Some(received.expect("the attempt does not panic")),
    }
}

/// Runs blocking `work` on a thread and waits for it asynchronously, on any runtime.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(work()));
    receiver.await.expect("the search does not panic")
}
