//! Connects a pool of `tokio-postgres` clients with the settings of a [`Config`].

use std::io;
use std::time::Duration;

use crdb_connection::{AttemptError, Config, ConfigError, ConnectError, Server, Verify};
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, PoolError, RecycleError, RecycleResult};
use postgres_openssl::MakeTlsConnector;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Connection, NoTls};

/// A pool of clients. All clones share the same connections.
pub type Pool = deadpool::managed::Pool<ClientManager>;

/// Creates a pool and opens its first connection. Each new connection tries the config's servers in
/// order.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went
/// wrong and what to do.
pub async fn connect(config: &Config) -> Result<Pool, ConnectError> {
    // CockroachDB advises at most four active connections for each core of the whole cluster
    // (https://www.cockroachlabs.com/docs/stable/connection-pooling).
    let pool = Pool::builder(ClientManager(config.clone()))
        .max_size(4)
        // A request that waits longer gets an error, also if it holds a client and needs another.
        .wait_timeout(Some(Duration::from_secs(30)))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(to_connect_error)?;
    match pool.get().await {
        Ok(_) => Ok(pool),
        Err(PoolError::Backend(error)) => Err(error),
        Err(error) => Err(to_connect_error(error)),
    }
}

fn to_connect_error(error: impl ToString) -> ConnectError {
    ConfigError::from(error.to_string()).into()
}

/// Opens the clients of a pool.
#[derive(Debug)]
pub struct ClientManager(Config);

impl Manager for ClientManager {
    type Type = Client;
    type Error = ConnectError;

    async fn create(&self) -> Result<Client, ConnectError> {
        let connect = async |server: Server| {
            let connected = timeout(server.time_limit, connect_to(server)).await;
            connected.map_err(io::Error::from)?
        };
        self.0.connect_with_async(connect).await
    }

    async fn recycle(&self, client: &mut Client, metrics: &Metrics) -> RecycleResult<ConnectError> {
        // With jitter, clients that were opened together are not all replaced together.
        let lifetime = Duration::from_secs(fastrand::u64(270..330));
        if client.is_closed() || metrics.age() > lifetime {
            return Err(RecycleError::message("the client is closed or too old"));
        }
        // A ping costs a round trip, so only a client that was idle gets one.
        if metrics.last_used() > Duration::from_secs(30) {
            let limit = self.0.connect_timeout.unwrap_or(Duration::MAX);
            let answer = timeout(limit, client.check_connection()).await;
            if !matches!(answer, Ok(Ok(()))) {
                return Err(RecycleError::message("the client does not answer"));
            }
        }
        Ok(())
    }
}

async fn connect_to(server: Server) -> Result<Client, AttemptError> {
    let config = &server.config;
    let mut options = tokio_postgres::Config::new();
    options
        .host(&server.host.name)
        .port(server.host.port)
        .user(&config.user)
        .dbname(&config.dbname)
        .application_name(&config.application_name);
    // The host is the name to verify, the address is the one to connect to.
    if let Some(address) = server.hostaddr() {
        options.hostaddr(address);
    }
    if let Some(password) = &config.password {
        options.password(password.reveal());
    }
    if let Some(server_options) = &config.options {
        options.options(server_options);
    }

    let connected = match &server.tls {
        None => {
            options.ssl_mode(SslMode::Disable);
            options.connect(NoTls).await.map(serve)
        }
        Some(tls) => {
            // `tokio-postgres` knows only whether to encrypt. The OpenSSL connector checks the
            // certificate.
            let mut connector = MakeTlsConnector::new(tls.connector()?.build());
            let verify_name = tls.verify == Verify::ChainAndName;
            connector.set_callback(move |connection, _| {
                connection.set_verify_hostname(verify_name);
                Ok(())
            });
            options.ssl_mode(SslMode::Require);
            options.connect(connector).await.map(serve)
        }
    };
    connected.map_err(|error| {
        let sqlstate = error.code().map(|state| state.code().to_owned());
        AttemptError::new(error, sqlstate)
    })
}

/// Spawns the task that sends and receives for the client.
fn serve<S, T>((client, connection): (Client, Connection<S, T>)) -> Client
where
    Connection<S, T>: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(connection);
    client
}
