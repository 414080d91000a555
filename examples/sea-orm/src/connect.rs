//! Connects SeaORM: creates a pool.

use crdb_connection::{ConnectError, DatabaseUrl};
use sea_orm::DatabaseConnection;

/// Creates a pool of sqlx, SeaORM's driver, and opens its first connection. Its limits are in
/// `examples/sqlx/src/connect.rs`.
///
/// # Errors
///
/// Returns an error if the host does not accept the connection. The message says what to do.
pub async fn connect(url: &DatabaseUrl) -> Result<DatabaseConnection, ConnectError> {
    Ok(crdb_sqlx::connect(url).await?.into())
}
