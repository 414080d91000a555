//! The part of a connection string before the `?`: user, password, hosts and database.

use std::net::SocketAddrV6;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::explain::{ConnectError, ensure};

/// The checked location. Everything is percent-encoded.
#[derive(Clone)]
pub(crate) struct Location {
    /// `user:password@host:port,…/database`.
    pub(crate) text: String,
    /// At least one `host:port`.
    pub(crate) hosts: Vec<String>,
}

/// Splits a URL at the `?`. What the location leaves out comes from the variables. No message shows
/// a value: it may be a piece of a password.
pub(crate) fn read<'a>(
    url: &'a str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Location, &'a str), ConnectError> {
    let rest = strip_scheme(url.trim())?;
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = location.split_once('/').unwrap_or((location, ""));
    // An "@" after the host: the password contains a "/" or "?" that is not encoded.
    ensure(!path.contains('@') && !query.contains('@'), ENCODE)?;
    ensure(authority.matches('@').count() < 2, ENCODE)?;
    // sqlx would remove the "/".
    ensure(!path.contains('/'), ENCODE)?;

    let or_variable = |part: &str, name: &str| match variable(name) {
        Some(value) if part.is_empty() => encode(&value),
        _ => part.to_owned(),
    };
    let (credentials, hosts) = authority.split_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut credentials = or_variable(user, "PGUSER");
    ensure(
        !credentials.is_empty(),
        "there is no user\nWrite postgresql://USER:PASSWORD@HOST:26257/DATABASE, or set PGUSER.",
    )?;
    let password = or_variable(password, "PGPASSWORD");
    if !password.is_empty() {
        credentials = credentials + ":" + &password;
    }
    let mut database = or_variable(path, "PGDATABASE");
    if database.is_empty() {
        database = "defaultdb".to_owned();
    }
    let host = variable("PGHOST").filter(|_| hosts.is_empty());
    let hosts = host.unwrap_or(hosts.to_owned());
    let port = variable("PGPORT").unwrap_or("26257".to_owned());
    let hosts = hosts.split(',').map(|host| check_host(host, &port));
    let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
    let text = format!("{credentials}@{}/{database}", hosts.join(","));
    Ok((Location { text, hosts }, query))
}

const ENCODE: &str = "the connection string is not percent-encoded\n\
                      In a user name and a password, write @ as %40, : as %3A, / as %2F, ? as %3F, \
                      # as %23, % as %25 and a space as %20.";

/// Returns what follows `postgresql://`. Refuses quotes, placeholders, and characters that a URL must
/// encode.
fn strip_scheme(url: &str) -> Result<&str, ConnectError> {
    ensure(
        !url.starts_with(['\'', '"']),
        "DATABASE_URL begins with a quote\n\
         Remove the quotes: `docker --env-file`, for example, keeps them in the value.",
    )?;
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    ensure(
        ["postgresql", "postgres"].contains(&scheme),
        "DATABASE_URL does not begin with postgresql:// or postgres://\n\
         Copy the connection string of your cluster's console, without a command before it.",
    )?;
    let after_bracket = rest.split_once('<').map(|(_, after)| after);
    ensure(
        !after_bracket.is_some_and(|after| after.contains('>')),
        "a placeholder such as <password> is left\n\
         Put your own value in its place, without the angle brackets.",
    )?;
    let is_allowed = |c: char| !c.is_ascii_control() && !" \"#<>\\^`{|}".contains(c);
    ensure(rest.chars().all(is_allowed), ENCODE)?;
    // libpq shows a value with %00, or with a % without two digits, in its error message.
    let is_byte = |hex: &[u8]| hex.iter().all(u8::is_ascii_hexdigit) && hex != b"00";
    let is_byte = |after: &str| after.as_bytes().get(..2).is_some_and(is_byte);
    ensure(rest.split('%').skip(1).all(is_byte), ENCODE)?;
    let decoded = percent_decode_str(rest).decode_utf8();
    ensure(decoded.is_ok(), "the connection string is not UTF-8 text")?;
    Ok(rest)
}

/// Returns `host:port`.
fn check_host(text: &str, default_port: &str) -> Result<String, ConnectError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, default_port),
    };
    let is_address = format!("{host}:1").parse::<SocketAddrV6>().is_ok();
    let is_in_name = |c: char| c.is_alphanumeric() || "-._".contains(c);
    let is_name = !host.is_empty() && host.chars().all(is_in_name);
    ensure(
        is_address || is_name,
        "a host is missing, or is neither a name nor an address\n\
         Write postgresql://USER:PASSWORD@HOST:26257/DATABASE, and an IPv6 address as [::1]. Unix \
         sockets are not supported.",
    )?;
    ensure(
        port.parse::<u16>().is_ok_and(|port| port > 0),
        "a port is not a number from 1 to 65535; CockroachDB's is 26257\n\
         If this is a piece of the password, encode it: write / as %2F, ? as %3F and @ as %40.",
    )?;
    Ok(format!("{host}:{port}"))
}

/// All characters but those that stay readable and are allowed everywhere in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Percent-encodes a value for a URL.
pub(crate) fn encode(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}
