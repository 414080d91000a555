//! Connects Diesel.

use crdb_connection::{ConnectError, DatabaseUrl};
use diesel::{Connection, PgConnection};

/// Connects to the first host that accepts the connection.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub fn connect(url: &DatabaseUrl) -> Result<PgConnection, ConnectError> {
    PgConnection::establish(&url.for_libpq()).map_err(|error| url.explain(error))
}
