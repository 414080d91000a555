//! The part of a connection string before the `?`: user, password, hosts and database.

use std::net::SocketAddrV6;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::explain::{ConnectError, ensure, refuse};

/// Checks a URL, and returns its parts by name, percent-encoded. No message shows a value: it may be a
/// piece of a password.
pub(crate) fn split(url: &str) -> Result<Vec<(&str, &str)>, ConnectError> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = location.split_once('/').unwrap_or((location, ""));
    let after_bracket = rest.split_once('<').map_or("", |(_, after)| after);
    let is_allowed = |c: char| !c.is_ascii_control() && !" \"#<>\\^`{|}".contains(c);
    // libpq shows a value with %00, or with a % without two digits, in its error message.
    let is_byte = |hex: &[u8]| hex.iter().all(u8::is_ascii_hexdigit) && hex != b"00";
    let is_byte = |after: &str| after.as_bytes().get(..2).is_some_and(is_byte);
    let is_encoded = rest.chars().all(is_allowed)
        && rest.split('%').skip(1).all(is_byte)
        // An "@" after the host: the password contains a "/" or "?" that is not encoded.
        && authority.matches('@').count() < 2
        && !path.contains('@')
        && !query.contains('@')
        // sqlx would remove the "/".
        && !path.contains('/');
    #[rustfmt::skip]
    let checks = [
        (!url.starts_with(['\'', '"']),
         "DATABASE_URL begins with a quote\n\
          Remove the quotes: `docker --env-file`, for example, keeps them in the value."),
        (["postgresql", "postgres"].contains(&scheme),
         "DATABASE_URL does not begin with postgresql:// or postgres://\n\
          Copy the connection string of your cluster's console, without a command before it."),
        (!after_bracket.contains('>'),
         "a placeholder such as <password> is left\n\
          Put your own value in its place, without the angle brackets."),
        (is_encoded,
         "the connection string is not percent-encoded\n\
          In a user name and a password, write @ as %40, / as %2F and so on: step 3 of README.md has the list."),
        (percent_decode_str(rest).decode_utf8().is_ok(), "the connection string is not UTF-8 text"),
    ];
    for (is_valid, message) in checks {
        ensure(is_valid, message)?;
    }
    let (credentials, host) = authority.split_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let parts = ["user", "password", "host", "dbname"].into_iter();
    let parts = parts.zip([user, password, host, path]);
    let mut parts: Vec<_> = parts.filter(|(_, value)| !value.is_empty()).collect();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(pair) = pair.split_once('=') else {
            return refuse("a parameter has no \"=\"\nWrite ?name=value&name=value.");
        };
        parts.push(pair);
    }
    Ok(parts)
}

/// Returns the list with `host:port` for each host.
pub(crate) fn hosts(list: &str, default_port: &str) -> Result<String, ConnectError> {
    let hosts = list.split(',').map(|host| check_host(host, default_port));
    Ok(hosts.collect::<Result<Vec<_>, _>>()?.join(","))
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
         If this is a piece of the password, encode it: write / as %2F and so on (step 3 of README.md).",
    )?;
    Ok(format!("{host}:{port}"))
}

/// All characters but those that stay readable and are allowed everywhere in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Percent-encodes a value for a URL. libpq would show a value with a NUL byte in its error message.
pub(crate) fn encode(value: &str) -> String {
    utf8_percent_encode(&value.replace('\0', ""), RESERVED).to_string()
}
