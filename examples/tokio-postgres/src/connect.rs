//! Connects tokio-postgres: creates a pool.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::{Duration, Instant};

use crdb_connection::{ConnectError, DatabaseUrl};
use deadpool_postgres::{ConfigConnectImpl, Connect, Hook, HookError, Manager, ManagerConfig};
use deadpool_postgres::{Pool, PoolBuilder, PoolError, RecyclingMethod, Runtime};
use postgres_openssl::MakeTlsConnector;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Config, Error};

/// Creates a pool and opens its first connection.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<Pool, ConnectError> {
    let builder = pool_builder(url)?;
    let pool = builder.build().map_err(|error| url.explain(error))?;
    match pool.get().await {
        Ok(_) => Ok(pool),
        Err(PoolError::Backend(error)) => Err(url.explain(error)),
        Err(error) => Err(url.explain(error)),
    }
}

/// Returns the pool of [`connect`] before it is built: `pool_builder(&url)?.max_size(16).build()?`.
///
/// # Errors
///
/// Returns an error if OpenSSL does not accept a certificate file.
pub fn pool_builder(url: &DatabaseUrl) -> Result<PoolBuilder, ConnectError> {
    pool_builder_with_lifetime(url, Duration::from_secs(300))
}

/// Returns [`pool_builder`] with another lifetime of the connections.
///
/// # Errors
///
/// Returns an error if OpenSSL does not accept a certificate file.
pub fn pool_builder_with_lifetime(
    url: &DatabaseUrl,
    lifetime: Duration,
) -> Result<PoolBuilder, ConnectError> {
    url.for_rust_postgres()?;
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_connect(Config::new(), EachHost(url.clone()), recycling);
    let random = RandomState::new();
    Ok(Pool::builder(manager)
        // CockroachDB advises at most four active connections for each core of the whole cluster
        // (https://www.cockroachlabs.com/docs/stable/connection-pooling).
        .max_size(4)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(url.connect_timeout()))
        // Without a limit, a task that holds a client and waits for another can wait for ever.
        .wait_timeout(Some(url.connect_timeout()))
        .pre_recycle(Hook::sync_fn(move |_, metrics| {
            if metrics.age() < own_lifetime(lifetime, &random, metrics.created) {
                Ok(())
            } else {
                Err(HookError::message("the connection is old"))
            }
        })))
}

/// Returns the lifetime, up to 10 % shorter or longer: connections of one age are not all replaced
/// at once. It is the same at each use of a connection.
pub(crate) fn own_lifetime(lifetime: Duration, random: &RandomState, created: Instant) -> Duration {
    let mut random = fastrand::Rng::with_seed(random.hash_one(created));
    lifetime.mul_f64(0.9 + 0.2 * random.f64())
}

/// Connects to the first host that accepts the connection. Each one has its own time limit.
struct EachHost(DatabaseUrl);

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for EachHost {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(async {
            let mut last = None;
            for host in self.0.each_host() {
                // `pool_builder` has built the connector, so this succeeds.
                let Ok((text, tls)) = host.for_rust_postgres() else {
                    continue;
                };
                let connect = ConfigConnectImpl {
                    tls: MakeTlsConnector::new(tls),
                };
                let attempt = async { connect.connect(&text.parse()?).await };
                match timeout(host.connect_timeout(), attempt).await {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => {
                        log::warn!("no connection to {host:?}: {error}");
                        last = Some(error);
                    }
                    Err(_) => log::warn!("no connection to {host:?}: timed out"),
                }
            }
            match last {
                Some(error) => Err(error),
                // Only the pool has an error for this. Its `create_timeout` is over, too.
                None => pending().await,
            }
        })
    }
}
