//! The search for a server: [`Config::connect_with`] and its asynchronous twins, [`ConnectError`].

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::advice;
use crate::certificate;
use crate::config::{Config, Host};
use crate::error::ConfigError;
use crate::failure::{AttemptError, Kind};
use crate::tls::Tls;

/// The time limit for each look at a server after a failed attempt.
const LOOK: Duration = Duration::from_secs(1);

/// What a driver needs for one attempt to connect.
#[derive(Clone)]
pub struct Server {
    /// User, database and all other settings.
    pub config: Arc<Config>,
    /// The name and the port to connect to. The certificate is verified against this name.
    pub host: Host,
    /// How to encrypt; `None` for a connection without encryption.
    pub tls: Option<Arc<Tls>>,
    addresses: Vec<SocketAddr>,
    deadline: Option<Instant>,
}

impl Server {
    /// Returns the one address of the host to connect to, libpq's `hostaddr`. `None` for an IPv6 address
    /// with a zone, which only the host name can express.
    pub fn hostaddr(&self) -> Option<IpAddr> {
        match self.addresses.first()? {
            SocketAddr::V6(address) if address.scope_id() != 0 => None,
            address => Some(address.ip()),
        }
    }

    /// Returns what is left of the time limit; [`Duration::MAX`] if there is none.
    pub fn time_limit(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }
}

impl Config {
    /// Connects with a blocking driver: calls `connect` for each address of each host, until one call
    /// returns a connection.
    ///
    /// The order is libpq's: the hosts as listed and the addresses as the operating system returns them,
    /// or both at random with `load_balance_hosts=random`. Each address has a `connect_timeout` of its own,
    /// and the first of a host includes the name resolution. The search ends when a server refuses the
    /// password or the certificate.
    ///
    /// Each call runs on a thread of its own, so that the limit also holds for a server that accepts the
    /// connection and then does not answer. After the limit the thread is left behind, and its connection
    /// is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate file cannot be used, or if no server accepts the connection.
    pub fn connect_with<T, F>(&self, connect: F) -> Result<T, ConnectError>
    where
        T: Send + 'static,
        F: Fn(Server) -> Result<T, AttemptError> + Send + Sync + 'static,
    {
        let connect = Arc::new(connect);
        let mut search = Search::new(self, Scope::Address)?;
        while let Some(server) = search.next_server() {
            let (connect, attempt) = (Arc::clone(&connect), server.clone());
            match run_within(server.time_limit(), move || connect(attempt)) {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => search.failed(&server, error),
                None => search.failed(&server, io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        }
        Err(search.into_error())
    }

    /// Connects with an asynchronous driver: as [`Config::connect_with`], on any runtime.
    ///
    /// `connect` must end each attempt after [`Server::time_limit`], with an [`io::Error`] of kind
    /// `TimedOut`: `tokio::time::timeout(server.time_limit(), …).await` and [`io::Error::from`] do this. The
    /// future is `Send` if `connect` and its future are. Name resolution does not block the caller's thread.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate file cannot be used, or if no server accepts the connection.
    pub async fn connect_with_async<T, F, A>(&self, connect: F) -> Result<T, ConnectError>
    where
        F: Fn(Server) -> A,
        A: Future<Output = Result<T, AttemptError>>,
    {
        Search::new(self, Scope::Address)?.run(connect).await
    }

    /// Connects with an asynchronous driver that resolves host names itself: as
    /// [`Config::connect_with_async`], with one call for each host. The time limit of a call is
    /// `connect_timeout` times the number of the host's addresses.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate file cannot be used, or if no server accepts the connection.
    pub async fn connect_by_name_async<T, F, A>(&self, connect: F) -> Result<T, ConnectError>
    where
        F: Fn(Server) -> A,
        A: Future<Output = Result<T, AttemptError>>,
    {
        Search::new(self, Scope::Host)?.run(connect).await
    }
}

/// What one attempt covers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Address,
    Host,
}

struct Search {
    config: Arc<Config>,
    tls: Option<Arc<Tls>>,
    scope: Scope,
    hosts: VecDeque<Host>,
    /// The current host, what is left of its addresses (one group for each attempt), and when its name
    /// resolution began, until the first attempt.
    groups: VecDeque<(Host, Vec<SocketAddr>)>,
    resolving_since: Option<Instant>,
    failures: Vec<Failure>,
}

struct Failure {
    host: Host,
    kind: Kind,
    detail: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Search {
    fn new(config: &Config, scope: Scope) -> Result<Search, ConfigError> {
        let mut hosts = config.hosts.clone();
        if config.load_balance_hosts {
            fastrand::shuffle(&mut hosts);
        }
        Ok(Search {
            config: Arc::new(config.clone()),
            tls: Tls::resolve(config)?.map(Arc::new),
            scope,
            hosts: hosts.into(),
            groups: VecDeque::new(),
            resolving_since: None,
            failures: Vec::new(),
        })
    }

    /// Runs the search without blocking the caller's thread.
    async fn run<T, F, A>(mut self, connect: F) -> Result<T, ConnectError>
    where
        F: Fn(Server) -> A,
        A: Future<Output = Result<T, AttemptError>>,
    {
        loop {
            let next;
            (next, self) = on_thread(move || (self.next_server(), self)).await;
            let Some(server) = next else {
                return Err(self.into_error());
            };
            match connect(server.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    self = on_thread(move || {
                        self.failed(&server, error);
                        self
                    })
                    .await;
                }
            }
        }
    }

    /// Returns the next server to try. Resolves the next host's name if necessary.
    fn next_server(&mut self) -> Option<Server> {
        loop {
            if let Some((host, addresses)) = self.groups.pop_front() {
                let start = self.resolving_since.take().unwrap_or_else(Instant::now);
                let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
                let limit = self
                    .config
                    .connect_timeout
                    .map(|limit| limit.saturating_mul(count));
                return Some(Server {
                    config: Arc::clone(&self.config),
                    host,
                    tls: self.tls.clone(),
                    addresses,
                    deadline: limit.and_then(|limit| start.checked_add(limit)),
                });
            }
            let host = self.hosts.pop_front()?;
            self.resolving_since = Some(Instant::now());
            match resolve(&host, self.config.connect_timeout.unwrap_or(Duration::MAX)) {
                Ok(mut addresses) => {
                    if self.config.load_balance_hosts {
                        fastrand::shuffle(&mut addresses);
                    }
                    let size = match self.scope {
                        Scope::Address => 1,
                        Scope::Host => addresses.len().max(1),
                    };
                    let groups = addresses.chunks(size);
                    self.groups = groups.map(|group| (host.clone(), group.to_vec())).collect();
                }
                Err(error) => self.failures.push(Failure {
                    host,
                    kind: Kind::HostNotFound,
                    detail: String::new(),
                    source: error.into(),
                }),
            }
        }
    }

    /// Records why an attempt failed. Looks at the server if the error does not say it exactly.
    fn failed(&mut self, server: &Server, error: AttemptError) {
        let (mut kind, mut detail) = error.classify();
        let addresses = server.addresses.clone();
        if kind == Kind::TimedOut {
            let look = move || certificate::connect_tcp(&addresses, LOOK).is_some();
            if run_within(LOOK, look) == Some(true) {
                kind = Kind::NoAnswer;
            }
        } else if kind.is_about_certificate()
            && let Some(tls) = server.tls.clone()
        {
            if kind == Kind::OtherName {
                detail.clear();
            }
            let (name, verify_name) = (server.host.name.clone(), kind == Kind::OtherName);
            let look = move || {
                let stream = certificate::connect_tcp(&addresses, LOOK)?;
                certificate::verdict(stream, &name, &tls, verify_name)
            };
            if let Some(Some(exact)) = run_within(2 * LOOK, look) {
                (kind, detail) = exact;
            }
        } else if kind == Kind::Password && self.config.password.is_none() {
            // sqlx sends an empty password if there is none.
            kind = Kind::NoPassword;
        }
        if kind.ends_search() {
            self.hosts.clear();
            self.groups.clear();
            // An earlier address of the same host is not the reason any more.
            self.failures.retain(|failure| failure.host != server.host);
        }
        let (host, source) = (server.host.clone(), error.source);
        self.failures.push(Failure {
            host,
            kind,
            detail,
            source,
        });
    }

    fn into_error(mut self) -> ConnectError {
        let config = &self.config;
        let mut lines: Vec<String> = Vec::new();
        for Failure {
            host, kind, detail, ..
        } in &self.failures
        {
            let line = format!("{host}: {}", advice::reason(*kind, detail, config));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let mut message = match lines.as_slice() {
            [only] => format!("could not connect to {only}"),
            several => format!("could not connect\n  {}", several.join("\n  ")),
        };
        let Some(last) = self.failures.pop() else {
            let error = ConfigError::Driver("there is no host to connect to".to_owned());
            return error.into();
        };
        let advice = advice::advice(last.kind, config);
        if !advice.is_empty() {
            message = format!("{message}\n{advice}");
        }
        if last.kind == Kind::Settings {
            message = last.detail;
        }
        let source = (last.kind != Kind::Settings).then_some(last.source);
        ConnectError {
            kind: last.kind,
            message,
            source,
        }
    }
}

/// Why no server accepted the connection.
///
/// The message says what was tried, what went wrong and what to do; it does not contain the password.
/// `Debug` is `Display`. The source is the driver's error.
pub struct ConnectError {
    kind: Kind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ConnectError {
    /// Returns why the last attempt failed.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> ConnectError {
        ConnectError {
            kind: Kind::Settings,
            message: error.to_string(),
            source: None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

/// Resolves a host name. The operating system's function has no time limit, so it runs on a thread.
fn resolve(host: &Host, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let host = host.clone();
    let resolve = move || {
        (host.name.as_str(), host.port)
            .to_socket_addrs()
            .map(Iterator::collect)
    };
    run_within(limit, resolve).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Runs `work` on a thread and returns its result, or `None` if it takes longer than `limit`. After the
/// limit the thread is left behind and its result is dropped.
fn run_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ = sender.send(work());
    });
    match receiver.recv_timeout(limit) {
        Ok(result) => Some(result),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => None,
        },
    }
}

/// Runs blocking `work` on a thread and waits for it asynchronously, on any runtime.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::spawn(move || {
        let _ = sender.send(work());
    });
    match receiver.await {
        Ok(result) => result,
        // The sender is dropped without a result if `work` panics.
        Err(_) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("the thread sends a result or panics"),
        },
    }
}
