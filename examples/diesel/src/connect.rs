//! Connects Diesel with the settings of a [`Config`].

use std::path::Path;

use crdb_connection::{AttemptError, Config, ConnectError, Server, Verify};
use diesel::{Connection, PgConnection};

/// Connects to the first of the config's servers that accepts the connection.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went
/// wrong and what to do.
pub fn connect(config: &Config) -> Result<PgConnection, ConnectError> {
    config.connect_with(connect_to)
}

fn connect_to(server: Server) -> Result<PgConnection, AttemptError> {
    let config = &server.config;
    let tls = server.tls.as_deref();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let roots = tls.and_then(|tls| tls.roots.as_ref());
    let roots = roots.map(|roots| text(&roots.path)).unwrap_or_default();
    let (sslmode, sslrootcert) = match tls.map(|tls| tls.verify) {
        None => ("disable", String::new()),
        Some(Verify::Nothing) => ("require", String::new()),
        Some(Verify::Chain) => ("verify-ca", roots),
        Some(Verify::ChainAndName) if roots.is_empty() => ("verify-full", "system".to_owned()),
        Some(Verify::ChainAndName) => ("verify-full", roots),
    };
    let identity = tls.and_then(|tls| tls.identity.as_ref());
    let sslcert = identity.map(|identity| text(&identity.certificate_path));
    let sslkey = identity.map(|identity| text(&identity.key_path));
    let hostaddr = server.hostaddr().map(|address| address.to_string());
    let password = config.password.as_ref();
    // A second later than crdb-connection's own limit: it ends the thread of an abandoned attempt.
    let limit = config.connect_timeout;
    let connect_timeout = limit.map_or(0, |limit| {
        limit.as_secs().saturating_add(1).min(i32::MAX as u64)
    });

    // Every parameter is passed, even if empty, so libpq reads no other source. `host` is the name
    // to verify, `hostaddr` the address to connect to. No file can exist at the path of `passfile`.
    let parameters = [
        ("host", server.host.name.as_str()),
        ("hostaddr", &hostaddr.unwrap_or_default()),
        ("port", &server.host.port.to_string()),
        ("user", &config.user),
        (
            "password",
            password.map_or("", |password| password.reveal()),
        ),
        ("passfile", "/dev/null/none"),
        ("dbname", &config.dbname),
        ("sslmode", sslmode),
        ("sslrootcert", &sslrootcert),
        ("sslcert", &sslcert.unwrap_or_default()),
        ("sslkey", &sslkey.unwrap_or_default()),
        ("sslsni", "1"),
        ("options", config.options.as_deref().unwrap_or_default()),
        ("application_name", &config.application_name),
        ("client_encoding", "UTF8"),
        ("connect_timeout", &connect_timeout.to_string()),
        ("load_balance_hosts", "disable"),
    ];
    let quoted = parameters.map(|(name, value)| {
        let value = value.replace('\\', r"\\").replace('\'', r"\'");
        format!("{name}='{value}'")
    });
    Ok(PgConnection::establish(&quoted.join(" "))?)
}
