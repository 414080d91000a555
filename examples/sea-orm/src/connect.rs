//! From a [`Config`] to a SeaORM connection.

use std::error::Error;
use std::time::Duration;

use crdb_connection::{Check, Config, ConnectError, Server};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Connects to the first of the config's servers that lets us in.
///
/// # Errors
///
/// None of them did; the message says what was tried, what went wrong and what to do.
pub async fn connect(config: &Config) -> Result<DatabaseConnection, ConnectError> {
    let mut attempts = config.attempts()?;
    while let Some(server) = attempts.next_server() {
        let limit = config.connect_timeout.unwrap_or(Duration::MAX);
        let result = match timeout(limit, connect_to(&server)).await {
            Ok(result) => result,
            Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
        };
        match result {
            Ok(connection) => return Ok(connection),
            Err(error) => attempts.failed(&server, error.as_ref()),
        }
    }
    Err(attempts.into_error())
}

async fn connect_to(
    server: &Server<'_>,
) -> Result<DatabaseConnection, Box<dyn Error + Send + Sync>> {
    let config = server.config;
    // What stands in PGOPTIONS, sqlx takes by itself, and other options only from a URL.
    let mut options = PgConnectOptions::new_without_pgpass();
    if let Some(text) = config
        .options
        .as_deref()
        .filter(|text| options.get_options() != Some(text))
    {
        let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
        options = format!("postgresql://?options={text}").parse()?;
    }
    if options.get_options() != config.options.as_deref() {
        return Err(
            "sqlx would send PGOPTIONS to the server, against DATABASE_URL: unset PGOPTIONS".into(),
        );
    }
    options = options
        .port(server.host.port)
        .username(&config.user)
        .database(&config.dbname);
    options = match server.host.is_socket() {
        true => options.socket(&server.host.name),
        false => options.host(&server.host.name),
    };
    options = options.application_name(&config.application_name);
    if let Some(password) = &config.password {
        options = options.password(password.reveal());
    }

    // sqlx trusts the operating system's authorities besides sslrootcert, reads only the first certificate
    // of that file, and waits for a server that refuses connections. So the server is looked at first, and
    // sqlx is told to trust the one root that vouched for it.
    let probe = server.probe();
    let trusted_root = spawn_blocking(move || probe.run()).await??;
    options = match &server.tls {
        None => options.ssl_mode(PgSslMode::Disable),
        Some(tls) => match tls.check() {
            Check::Nothing => options.ssl_mode(PgSslMode::Require),
            Check::Chain => options.ssl_mode(PgSslMode::VerifyCa),
            Check::ChainAndName => options.ssl_mode(PgSslMode::VerifyFull),
        },
    };
    if let Some(root) = trusted_root {
        options = options.ssl_root_cert_from_pem(root);
    }
    if let Some(identity) = server.tls.as_ref().and_then(|tls| tls.identity()) {
        options = options
            .ssl_client_cert_from_pem(identity.certificate_pem()?)
            .ssl_client_key_from_pem(identity.key_pem()?);
    }

    // One connection, as the other drivers have. With more, sqlx opens another one whenever the last is
    // not back in the pool yet; a program that serves many at once wants that. A ping before each use
    // would cost a round trip, and run_transaction tells a lost connection anyway.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false);
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(
        pool.connect_with(options).await?,
    ))
}
