//! Connects sqlx: creates a pool.

use std::time::Duration;

use crdb_connection::{ConnectError, DatabaseUrl};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgPool, PgPoolOptions};
use tokio::time::timeout;

/// Creates a pool and opens its first connection.
///
/// # Errors
///
/// Returns an error if the host does not accept the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<PgPool, ConnectError> {
    let options = connect_options(url)?;
    let mut error = match pool_options(url).connect_with(options.clone()).await {
        Ok(pool) => return Ok(pool),
        Err(error) => error,
    };
    // The pool has tried again until its time limit, and hides the reason.
    if matches!(error, sqlx::Error::PoolTimedOut) {
        let attempt = PgConnection::connect_with(&options);
        if let Ok(Err(reason)) = timeout(Duration::from_secs(2), attempt).await {
            error = reason;
        }
    }
    // sqlx leaves out the server's hint.
    let server = error.as_database_error();
    let hint = server.and_then(|server| server.downcast_ref::<PgDatabaseError>().hint());
    let hint = hint.map_or(String::new(), |hint| format!("\nHINT: {hint}"));
    Err(url.explain(format!("{error}{hint}")))
}

/// Returns the options of the pool that [`connect`] creates, for
/// `pool_options(&url).max_connections(16).connect_with(connect_options(&url)?).await?`.
pub fn pool_options(url: &DatabaseUrl) -> PgPoolOptions {
    PgPoolOptions::new()
        // CockroachDB advises at most four active connections for each core of the whole cluster
        // (https://www.cockroachlabs.com/docs/stable/connection-pooling).
        .max_connections(4)
        .acquire_timeout(url.connect_timeout())
        .max_lifetime(Duration::from_secs(300))
        // A ping before each use would cost a round trip.
        .test_before_acquire(false)
        .before_acquire(|conn, usage| {
            Box::pin(async move {
                if usage.idle_for > Duration::from_secs(30) {
                    // A connection that died silently never answers: the pool opens another one.
                    let ping = timeout(Duration::from_secs(2), conn.ping()).await;
                    ping.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
                Ok(true)
            })
        })
}

/// Returns the options of a connection, with the current password.
///
/// # Errors
///
/// Returns an error if there are several hosts, or if the string is not valid for sqlx.
pub fn connect_options(url: &DatabaseUrl) -> Result<PgConnectOptions, ConnectError> {
    let options = url.for_sqlx()?.parse();
    options.map_err(|error: sqlx::Error| url.explain(error))
}
