//! Connects SeaORM: creates a pool.

use std::time::Duration;

use crdb_connection::{ConnectError, DatabaseUrl};
use sea_orm::sqlx::postgres::{PgConnection, PgDatabaseError};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};
use tokio::time::timeout;

/// Creates a pool and opens its first connection.
///
/// # Errors
///
/// Returns an error if the host does not accept the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<DatabaseConnection, ConnectError> {
    let text = url.for_sqlx()?;
    let mut options = ConnectOptions::new(&text);
    options
        // CockroachDB advises at most four active connections for each core of the whole cluster
        // (https://www.cockroachlabs.com/docs/stable/connection-pooling).
        .max_connections(4)
        .acquire_timeout(url.connect_timeout())
        .max_lifetime(Duration::from_secs(300))
        // A ping before each use would cost a round trip.
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30));
    let mut error = match Database::connect(options).await {
        Ok(db) => return Ok(db),
        Err(DbErr::Conn(RuntimeErr::SqlxError(error))) => error,
        Err(error) => return Err(url.explain(error)),
    };
    // sqlx's pool has tried again until its time limit, and hides the reason.
    if matches!(*error, sqlx::Error::PoolTimedOut) {
        let attempt = PgConnection::connect(&text);
        if let Ok(Err(reason)) = timeout(Duration::from_secs(2), attempt).await {
            error = reason.into();
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
