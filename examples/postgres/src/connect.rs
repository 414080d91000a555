//! Connects the `postgres` crate.

use std::io;
use std::sync::mpsc;
use std::thread;

use crdb_connection::{ConnectError, DatabaseUrl};
use postgres::Client;
use postgres_openssl::MakeTlsConnector;

/// Connects to the first host that accepts the connection.
///
/// # Errors
///
/// Returns an error if no host accepts the connection. The message says what to do.
pub fn connect(url: &DatabaseUrl) -> Result<Client, ConnectError> {
    url.first_host(|host| {
        let (config, tls) = host.for_rust_postgres()?;
        // The driver's own `connect_timeout` ends with TCP. A node that has lost its quorum accepts
        // TCP and does not answer, so the thread is abandoned after the limit.
        let (sender, receiver) = mpsc::channel();
        let connect = move || {
            // After the limit the send fails, and the connection is dropped.
            let _ = sender.send(Client::connect(&config, MakeTlsConnector::new(tls)));
        };
        let thread = thread::Builder::new().spawn(connect);
        thread.map_err(|error| host.explain(error))?;
        match receiver.recv_timeout(host.connect_timeout()) {
            Ok(connected) => connected.map_err(|error| host.explain(error)),
            Err(_) => Err(host.explain(io::Error::from(io::ErrorKind::TimedOut))),
        }
    })
}
