//! Connects Diesel with the settings of a [`Config`].

use std::path::Path;

use crdb_connection::{AttemptError, Config, ConnectError, Server, Verify};
use diesel::{Connection, PgConnection};

/// Connects to the first of the config's servers that accepts the connection.
///
/// # Errors
///
/// Returns an error if no server accepts the connection. The message says what was tried, what went wrong
/// and what to do.
pub fn connect(config: &Config) -> Result<PgConnection, ConnectError> {
    config.connect_with(connect_to)
}

fn connect_to(server: Server) -> Result<PgConnection, AttemptError> {
    let config = &server.config;
    let tls = server.tls.as_deref();
    let text = |path: Option<&Path>| path.map(|path| path.to_string_lossy().into_owned());
    let root = text(tls.and_then(|tls| tls.root_path()));
    let (sslmode, sslrootcert) = match tls.map(|tls| tls.verify()) {
        None => ("disable", None),
        Some(Verify::Nothing) => ("require", None),
        Some(Verify::Chain) => ("verify-ca", root),
        Some(Verify::ChainAndName) => ("verify-full", root.or(Some("system".to_owned()))),
    };
    let identity = tls.and_then(|tls| tls.identity());
    // A second later than crdb-connection's own limit: it only ends the thread that was left behind.
    let connect_timeout = config
        .connect_timeout
        .map_or(0, |limit| limit.as_secs() + 1);

    // Every parameter is passed, even if empty, so libpq reads no other source. `host` is the name to
    // verify, `hostaddr` the address to connect to. No file can exist at the path of `passfile`.
    let parameters = [
        ("host", Some(server.host.name.clone())),
        (
            "hostaddr",
            server.hostaddr().map(|address| address.to_string()),
        ),
        ("port", Some(server.host.port.to_string())),
        ("user", Some(config.user.clone())),
        (
            "password",
            config
                .password
                .as_ref()
                .map(|password| password.reveal().to_owned()),
        ),
        ("passfile", Some("/dev/null/none".to_owned())),
        ("dbname", Some(config.dbname.clone())),
        ("sslmode", Some(sslmode.to_owned())),
        ("sslrootcert", sslrootcert),
        (
            "sslcert",
            text(identity.map(|identity| identity.certificate_path.as_path())),
        ),
        (
            "sslkey",
            text(identity.map(|identity| identity.key_path.as_path())),
        ),
        ("sslsni", Some("1".to_owned())),
        ("options", config.options.clone()),
        ("application_name", Some(config.application_name.clone())),
        ("client_encoding", Some("UTF8".to_owned())),
        ("connect_timeout", Some(connect_timeout.to_string())),
        ("load_balance_hosts", Some("disable".to_owned())),
    ];
    let quoted = parameters.map(|(name, value)| {
        let value = value
            .unwrap_or_default()
            .replace('\\', r"\\")
            .replace('\'', r"\'");
        format!("{name}='{value}'")
    });
    Ok(PgConnection::establish(&quoted.join(" "))?)
}
