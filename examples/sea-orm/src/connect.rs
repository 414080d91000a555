//! Connects SeaORM with the settings of a [`Config`].

use std::env;
use std::time::Duration;

use crdb_connection::{AttemptError, Config, ConfigError, ConnectError, Server, Tls, Verify};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sea_orm::sqlx::{ConnectOptions, Connection, Error};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use tokio::time::{sleep, timeout};

/// Connects to the first of the config's servers that accepts the connection.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went wrong
/// and what to do.
pub async fn connect(config: &Config) -> Result<DatabaseConnection, ConnectError> {
    config.connect_by_name_async(connect_to).await
}

async fn connect_to(server: Server) -> Result<DatabaseConnection, AttemptError> {
    let options = connect_options(&server)?;
    let limit = server.time_limit();
    // One connection, like the other drivers; a program that serves many requests at once needs more. A
    // ping before each use would cost a round trip, so only a connection that was idle gets one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= Duration::from_secs(30) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .acquire_timeout(limit.min(Duration::from_secs(365 * 24 * 60 * 60)));

    // The pool retries a refused connection, or a server with too many, and hides the reason until its
    // time limit. If the pool is not connected soon, one plain connection finds the reason.
    let pause = Duration::from_millis(500);
    let reason = async {
        sleep(pause).await;
        match options.connect().await {
            Ok(connection) => {
                let _ = connection.close().await;
                std::future::pending().await
            }
            // The pool may have taken the last free connection.
            Err(error) => {
                sleep(pause).await;
                Err(error)
            }
        }
    };
    let connected = timeout(limit, async {
        tokio::select! {
            pool = pool.connect_with(options.clone()) => pool,
            error = reason => error,
        }
    });
    match connected.await.map_err(std::io::Error::from)? {
        Ok(pool) => Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool)),
        Err(Error::PoolTimedOut) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        Err(error) => {
            let sqlstate = error.as_database_error().and_then(|error| error.code());
            let sqlstate = sqlstate.map(|sqlstate| sqlstate.into_owned());
            Err(AttemptError::new(error, sqlstate.as_deref()))
        }
    }
}

/// Sets every value, empty or not: `new_without_pgpass` reads the variables again, and a URL would make
/// sqlx read a password file.
fn connect_options(server: &Server) -> Result<PgConnectOptions, AttemptError> {
    let config = &server.config;
    let password = config
        .password
        .as_ref()
        .map_or("", |password| password.reveal());
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host.name)
        .port(server.host.port)
        .username(&config.user)
        .password(password)
        .database(&config.dbname)
        .application_name(&config.application_name);
    let options = with_server_options(options, config)?;
    match &server.tls {
        None => Ok(options.ssl_mode(PgSslMode::Disable)),
        Some(tls) => with_tls(options, tls),
    }
}

fn with_server_options(
    options: PgConnectOptions,
    config: &Config,
) -> Result<PgConnectOptions, ConfigError> {
    // sqlx would send what it read from PGOPTIONS in addition.
    let read = options.get_options().unwrap_or_default();
    if read == config.options.as_deref().unwrap_or_default() {
        Ok(options)
    } else if read.is_empty() {
        Ok(options.options(config.server_settings()?))
    } else {
        Err(must_be_unset("PGOPTIONS"))
    }
}

/// sqlx trusts the operating system's authorities in addition to a root certificate. They issue certificates
/// to anyone, so the host name is verified whenever the chain is.
fn with_tls(options: PgConnectOptions, tls: &Tls) -> Result<PgConnectOptions, AttemptError> {
    let mut options = match tls.verify() {
        Verify::Nothing => options.ssl_mode(PgSslMode::Require),
        Verify::Chain | Verify::ChainAndName => options.ssl_mode(PgSslMode::VerifyFull),
    };
    let mut read = Vec::new();
    match tls.root_certificates() {
        None => read.push("PGSSLROOTCERT"),
        Some([root]) => options = options.ssl_root_cert_from_pem(root.to_pem()?),
        Some(_) => {
            let problem = "sslrootcert contains several certificates, and sqlx reads only the first\n\
                           Put the certificate of your cluster's authority into a file of its own.";
            return Err(ConfigError::Driver(problem.to_owned()).into());
        }
    }
    match tls.identity() {
        None => read.extend(["PGSSLCERT", "PGSSLKEY"]),
        Some(identity) => {
            options = options
                .ssl_client_cert_from_pem(identity.certificate_pem()?)
                .ssl_client_key_from_pem(identity.key_pem()?);
        }
    }
    // sqlx has read these variables, and has no way to take the values back.
    match read
        .into_iter()
        .find(|variable| env::var_os(variable).is_some())
    {
        Some(variable) => Err(must_be_unset(variable).into()),
        None => Ok(options),
    }
}

fn must_be_unset(variable: &str) -> ConfigError {
    ConfigError::Driver(format!(
        "sqlx would use {variable}, against the other settings\nUnset {variable} to connect."
    ))
}
