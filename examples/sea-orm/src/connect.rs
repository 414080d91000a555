//! Connects SeaORM with the settings of a [`Config`].

use std::env;
use std::io;
use std::time::Duration;

use crdb_connection::{AttemptError, Config, ConfigError, ConnectError, Server, Verify};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sea_orm::sqlx::{ConnectOptions, Connection};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Connects to the first of the config's servers that accepts the connection.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went
/// wrong and what to do.
pub async fn connect(config: &Config) -> Result<DatabaseConnection, ConnectError> {
    config.connect_by_name_async(connect_to).await
}

async fn connect_to(server: Server) -> Result<DatabaseConnection, AttemptError> {
    let options = connect_options(&server)?;
    // sqlx's pool retries a refused connection until its time limit: find out before.
    let address = (server.host.name.as_str(), server.host.port);
    let reachable = timeout(server.time_limit, TcpStream::connect(address)).await;
    drop(reachable.map_err(io::Error::from)??);
    // The pool has one connection; a service needs more: see README.md. A ping before each use
    // would cost a round trip, so only a connection that was idle gets one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(server.time_limit)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= Duration::from_secs(30) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
    // The pool also retries if the server has too many connections, and does not return the reason.
    // If the pool is not connected soon, a plain connection finds the reason. The pool may still
    // connect: it may have the last free place.
    let pause = server.time_limit.min(Duration::from_secs(10)) / 4;
    let reason = async {
        sleep(pause).await;
        let error = options.connect().await.err();
        sleep(pause / 5).await;
        error
    };
    let connected = tokio::select! {
        pool = pool.connect_with(options.clone()) => pool,
        Some(error) = reason => Err(error),
    };
    let pool = connected.map_err(|error| {
        let sqlstate = error.as_database_error().and_then(|error| error.code());
        let sqlstate = sqlstate.map(|sqlstate| sqlstate.into_owned());
        AttemptError::new(error, sqlstate)
    })?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Returns sqlx's options. Sets every value, even if empty, because `new_without_pgpass` reads the
/// `PG*` variables; a URL would make sqlx read a password file.
fn connect_options(server: &Server) -> Result<PgConnectOptions, AttemptError> {
    let config = &server.config;
    let password = config.password.as_ref();
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host.name)
        .port(server.host.port)
        .username(&config.user)
        .password(password.map_or("", |password| password.reveal()))
        .database(&config.dbname)
        .application_name(&config.application_name)
        .ssl_mode(PgSslMode::Disable);
    let read = options.get_options().unwrap_or_default();
    let is_same = read == config.options.as_deref().unwrap_or_default();
    refuse_variable("PGOPTIONS", !is_same && !read.is_empty())?;
    if !is_same {
        options = options.options(config.server_settings()?);
    }
    let Some(tls) = &server.tls else {
        return Ok(options);
    };
    // sqlx trusts the operating system's authorities in addition to a root certificate. They issue
    // certificates to anyone, so the host name is verified whenever the chain is.
    options = options.ssl_mode(match tls.verify {
        Verify::Nothing => PgSslMode::Require,
        Verify::Chain | Verify::ChainAndName => PgSslMode::VerifyFull,
    });
    refuse_variable("PGSSLROOTCERT", tls.roots.is_none())?;
    if let Some(roots) = &tls.roots {
        if roots.certificates.len() > 1 {
            let problem = "sslrootcert contains several certificates, and sqlx reads only the first\n\
                           Put the certificate of your cluster's authority into a file of its own.";
            return Err(ConfigError::from(problem).into());
        }
        options = options.ssl_root_cert(&roots.path);
    }
    refuse_variable("PGSSLCERT", tls.identity.is_none())?;
    refuse_variable("PGSSLKEY", tls.identity.is_none())?;
    if let Some(identity) = &tls.identity {
        options = options
            .ssl_client_cert(&identity.certificate_path)
            .ssl_client_key_from_pem(identity.key.private_key_to_pem_pkcs8()?);
    }
    Ok(options)
}

/// sqlx has read this variable itself, and has no way to take the value back.
fn refuse_variable(name: &str, differs: bool) -> Result<(), ConfigError> {
    if !differs || env::var_os(name).is_none() {
        return Ok(());
    }
    Err(ConfigError::from(format!(
        "sqlx would use {name}, against the other settings\nUnset {name} to connect."
    )))
}
