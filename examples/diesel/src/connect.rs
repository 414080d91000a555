//! Connects Diesel.

use crdb_connection::{ConnectError, DatabaseUrl};
use diesel::{Connection, PgConnection};

/// Connects to the first host that accepts the connection.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub fn connect(url: &DatabaseUrl) -> Result<PgConnection, ConnectError> {
    let mut errors = Vec::new();
    // With a list, libpq stops at a host that answers with an error, such as a node that drains.
    for host in url.each_host() {
        match PgConnection::establish(&host.for_libpq()) {
            Ok(conn) => return Ok(conn),
            Err(error) => errors.push(host.explain(error)),
        }
    }
    Err(errors.into_iter().collect())
}
