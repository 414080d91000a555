//! From a [`Config`] to a Diesel connection.

use crdb_connection::{Check, Config, ConnectError, Server};
use diesel::{Connection, ConnectionError, PgConnection};

/// Connects to the first of the config's servers that lets us in.
///
/// # Errors
///
/// None of them did; the message says what was tried, what went wrong and what to do.
pub fn connect(config: &Config) -> Result<PgConnection, ConnectError> {
    let mut attempts = config.attempts()?;
    while let Some(server) = attempts.next_server() {
        match connect_to(&server) {
            Ok(connection) => return Ok(connection),
            Err(error) => attempts.failed(&server, &error),
        }
    }
    Err(attempts.into_error())
}

fn connect_to(server: &Server) -> Result<PgConnection, ConnectionError> {
    let config = server.config;
    let (sslmode, sslrootcert) = match &server.tls {
        None => ("disable", String::new()),
        Some(tls) => {
            let root = tls
                .root_path()
                .map_or("system".into(), |path| path.to_string_lossy());
            match tls.check() {
                Check::Nothing => ("require", String::new()),
                Check::Chain => ("verify-ca", root.into_owned()),
                Check::ChainAndName => ("verify-full", root.into_owned()),
            }
        }
    };
    let identity = server.tls.as_ref().and_then(|tls| tls.identity());
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let password = config
        .password
        .as_ref()
        .map_or("", |password| password.reveal());
    let seconds = config.connect_timeout.map_or(0, |limit| limit.as_secs());

    // Diesel hands this to libpq. What stands here, empty or not, libpq does not look up elsewhere.
    let parameters = [
        ("host", server.host.name.clone()),
        ("port", server.host.port.to_string()),
        ("user", config.user.clone()),
        ("password", password.to_owned()),
        ("dbname", config.dbname.clone()),
        ("sslmode", sslmode.to_owned()),
        ("sslrootcert", sslrootcert),
        (
            "sslcert",
            identity.map_or(String::new(), |identity| path(&identity.certificate_path)),
        ),
        (
            "sslkey",
            identity.map_or(String::new(), |identity| path(&identity.key_path)),
        ),
        ("options", config.options.clone().unwrap_or_default()),
        ("application_name", config.application_name.clone()),
        ("connect_timeout", seconds.to_string()),
        // A place where no file can be: the password comes from here only.
        ("passfile", "/dev/null/none".to_owned()),
    ];
    let quote = |value: &str| value.replace('\\', r"\\").replace('\'', r"\'");
    let parameters = parameters.map(|(name, value)| format!("{name}='{}'", quote(&value)));
    PgConnection::establish(&parameters.join(" "))
}
