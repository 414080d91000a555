//! Connects Diesel.

use crdb_connection::{ConnectError, DatabaseUrl};
use diesel::{Connection, PgConnection};

/// Connects to the first host that accepts the connection.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub fn connect(url: &DatabaseUrl) -> Result<PgConnection, ConnectError> {
    // With a list, libpq stops at a host that answers with an error, such as a node that drains.
    url.first_host(|host| {
        PgConnection::establish(&host.for_libpq()).map_err(|error| host.explain(error))
    })
}
