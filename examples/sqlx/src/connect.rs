//! Connects sqlx: creates a pool.

use std::future::ready;
use std::time::Duration;

use crdb_connection::{ConnectError, DatabaseUrl};
use sqlx::postgres::{PgConnection, PgDatabaseError, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor};
use tokio::{select, time::timeout};

/// Creates a pool and opens its first connection.
///
/// # Errors
///
/// Returns an error if the host does not accept the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<PgPool, ConnectError> {
    let text = url.for_sqlx()?;
    let options = PgPoolOptions::new()
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
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(|conn, _| {
            Box::pin(async move {
                // Ends a transaction that was left open. It is sent and not awaited: the pool's
                // ping reads the answer, and after an error the pool closes the connection.
                let end = conn.execute("BEGIN; ROLLBACK");
                select! { biased; _ = end => {}, () = ready(()) => {} }
                Ok(true)
            })
        });
    let mut error = match options.connect(&text).await {
        Ok(pool) => return Ok(pool),
        Err(error) => error,
    };
    // The pool has tried again until its time limit, and hides the reason.
    if matches!(error, sqlx::Error::PoolTimedOut) {
        let attempt = PgConnection::connect(&text);
        if let Ok(Err(reason)) = timeout(Duration::from_secs(2), attempt).await {
            error = reason;
        }
    }
    Err(url.explain(with_hint(&error)))
}

/// Returns the text of the error and the server's hint, which sqlx leaves out.
fn with_hint(error: &sqlx::Error) -> String {
    let server = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref());
    match server.and_then(PgDatabaseError::hint) {
        Some(hint) => format!("{error}\nHINT: {hint}"),
        None => error.to_string(),
    }
}
