//! From a [`Config`] to a `postgres` client.

use std::error::Error;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use crdb_connection::{Check, Config, ConnectError, Server};
use postgres::config::SslMode;
use postgres::{Client, NoTls};
use postgres_openssl::MakeTlsConnector;

/// Connects to the first of the config's servers that lets us in.
///
/// # Errors
///
/// None of them did; the message says what was tried, what went wrong and what to do.
pub fn connect(config: &Config) -> Result<Client, ConnectError> {
    let mut attempts = config.attempts()?;
    while let Some(server) = attempts.next_server() {
        match connect_to(&server) {
            Ok(client) => return Ok(client),
            Err(error) => attempts.failed(&server, error.as_ref()),
        }
    }
    Err(attempts.into_error())
}

fn connect_to(server: &Server) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let config = server.config;
    let mut options = postgres::Config::new();
    options.host(&server.host.name).port(server.host.port);
    options
        .user(&config.user)
        .dbname(&config.dbname)
        .application_name(&config.application_name);
    if let Some(password) = &config.password {
        options.password(password.reveal());
    }
    if let Some(server_options) = &config.options {
        options.options(server_options);
    }

    // The crate knows only whether to encrypt. What is checked of the certificate, and against whose, is
    // the connector's affair.
    let tls = match &server.tls {
        None => None,
        Some(tls) => {
            let check_name = tls.check() == Check::ChainAndName;
            let mut connector = MakeTlsConnector::new(tls.connector()?.build());
            connector.set_callback(move |connection, _| {
                connection.set_verify_hostname(check_name);
                Ok(())
            });
            Some(connector)
        }
    };

    // The crate's own connect_timeout ends with TCP's handshake: a server that accepts and then says
    // nothing would hold us for ever.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let connected = match tls {
            None => options.ssl_mode(SslMode::Disable).connect(NoTls),
            Some(connector) => options.ssl_mode(SslMode::Require).connect(connector),
        };
        // Too late for anybody to receive it, the connection is closed again.
        let _ = sender.send(connected);
    });
    let connected = match config.connect_timeout {
        None => receiver.recv().map_err(RecvTimeoutError::from),
        Some(limit) => receiver.recv_timeout(limit),
    };
    match connected {
        Ok(connected) => Ok(connected?),
        Err(RecvTimeoutError::Timeout) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        Err(RecvTimeoutError::Disconnected) => Err("connecting panicked".into()),
    }
}
