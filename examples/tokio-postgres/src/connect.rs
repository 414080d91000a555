//! Connects tokio-postgres: creates a pool.

use std::time::Duration;

use crdb_connection::{ConnectError, DatabaseUrl};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig};
use deadpool_postgres::{Pool, PoolError, RecyclingMethod, Runtime};
use postgres_openssl::MakeTlsConnector;

/// Creates a pool and opens its first connection. Each connection tries the hosts in order.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<Pool, ConnectError> {
    let (config, tls) = url.for_rust_postgres()?;
    let config = config
        .parse()
        .map_err(|error: tokio_postgres::Error| url.explain(error))?;
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config, MakeTlsConnector::new(tls), recycling);
    let pool = Pool::builder(manager)
        // CockroachDB advises at most four active connections for each core of the whole cluster
        // (https://www.cockroachlabs.com/docs/stable/connection-pooling).
        .max_size(4)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(url.connect_timeout()))
        // Without a limit, a task that holds a client and waits for another can wait for ever.
        .wait_timeout(Some(Duration::from_secs(30)))
        .pre_recycle(Hook::sync_fn(|_, metrics| {
            // A random age: the connections are not all replaced at once.
            if metrics.age() < Duration::from_secs(fastrand::u64(270..330)) {
                Ok(())
            } else {
                Err(HookError::message("the connection is old"))
            }
        }))
        .build()
        .map_err(|error| url.explain(error))?;
    match pool.get().await {
        Ok(_) => Ok(pool),
        Err(PoolError::Backend(error)) => Err(url.explain(error)),
        Err(error) => Err(url.explain(error)),
    }
}
