//! Connects the `postgres` crate with the settings of a [`Config`].

use crdb_connection::{AttemptError, Config, ConnectError, Server, Verify};
use postgres::config::SslMode;
use postgres::{Client, NoTls};
use postgres_openssl::MakeTlsConnector;

/// Connects to the first of the config's servers that accepts the connection.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went
/// wrong and what to do.
pub fn connect(config: &Config) -> Result<Client, ConnectError> {
    config.connect_with(connect_to)
}

fn connect_to(server: Server) -> Result<Client, AttemptError> {
    let config = &server.config;
    let mut options = postgres::Config::new();
    options
        .host(&server.host.name)
        .port(server.host.port)
        .user(&config.user)
        .dbname(&config.dbname)
        .application_name(&config.application_name);
    // The host is the name to verify, the address is the one to connect to.
    if let Some(address) = server.hostaddr() {
        options.hostaddr(address);
    }
    if let Some(password) = &config.password {
        options.password(password.reveal());
    }
    if let Some(server_options) = &config.options {
        options.options(server_options);
    }

    let connected = match &server.tls {
        None => options.ssl_mode(SslMode::Disable).connect(NoTls),
        Some(tls) => {
            // `postgres` knows only whether to encrypt. The OpenSSL connector checks the
            // certificate.
            let mut connector = MakeTlsConnector::new(tls.connector()?.build());
            let verify_name = tls.verify == Verify::ChainAndName;
            connector.set_callback(move |connection, _| {
                connection.set_verify_hostname(verify_name);
                Ok(())
            });
            options.ssl_mode(SslMode::Require).connect(connector)
        }
    };
    connected.map_err(|error| {
        let sqlstate = error.code().map(|state| state.code().to_owned());
        AttemptError::new(error, sqlstate)
    })
}
