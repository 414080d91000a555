//! The grammar of a connection URL, which is libpq's. The values stay strings here.
//!
//! Source: PostgreSQL's documentation, "Connection URIs"
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>), and the behaviour
//! of `psql` for what the page does not say.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, Parameters, is_placeholder};

/// Every character except those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Reads `postgresql://[user[:password]@][host[:port][,…]][/dbname][?name=value[&…]]`.
pub(crate) fn parse(url: &str) -> Result<Parameters, ConfigError> {
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"))
        .ok_or(ConfigError::NotAUrl)?;

    let mut parameters = Parameters::new();
    let rest = parse_user(rest, &mut parameters)?;
    let rest = parse_hosts(rest, &mut parameters)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = path.strip_prefix('/').unwrap_or("");
    store_if_given(&mut parameters, "dbname", database)?;
    parse_query(query, &mut parameters)?;
    Ok(parameters)
}

/// Reads the user and the password and returns what follows them.
///
/// libpq looks for the `@` up to the first `/`, so both must be percent-encoded in a password. If they are
/// not, a piece of the password would be read as a host, a database or a parameter and shown in messages:
/// so an `@` anywhere in the rest is an error, before anything is decoded.
fn parse_user<'a>(rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let end = rest
        .find(['@', '/'])
        .filter(|&end| rest[end..].starts_with('@'));
    let (credentials, rest) = end.map_or(("", rest), |end| (&rest[..end], &rest[end + 1..]));
    if rest.contains('@') {
        return Err(ConfigError::StrayAt);
    }
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    store_if_given(parameters, "user", user)?;
    store_if_given(parameters, "password", password)?;
    Ok(rest)
}

/// Reads the comma-separated hosts and ports and returns what follows them: the path and the query.
fn parse_hosts<'a>(mut rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let host;
        if let Some(after_bracket) = rest.strip_prefix('[') {
            let end = after_bracket
                .find(']')
                .ok_or(ConfigError::Ipv6("has no closing \"]\""))?;
            host = &after_bracket[..end];
            if host.is_empty() {
                return Err(ConfigError::Ipv6("is empty"));
            }
            rest = &after_bracket[end + 1..];
            if !(rest.is_empty() || rest.starts_with([':', '/', '?', ','])) {
                let problem = "is followed by something that is neither \":\" nor \"/\"";
                return Err(ConfigError::Ipv6(problem));
            }
        } else {
            let end = rest.find([':', '/', '?', ',']).unwrap_or(rest.len());
            (host, rest) = rest.split_at(end);
        }
        hosts.push(host);

        let mut port = "";
        if let Some(after_colon) = rest.strip_prefix(':') {
            let end = after_colon
                .find(['/', '?', ','])
                .unwrap_or(after_colon.len());
            (port, rest) = after_colon.split_at(end);
        }
        ports.push(port);

        let Some(after_comma) = rest.strip_prefix(',') else {
            break;
        };
        rest = after_comma;
    }
    store_if_given(parameters, "host", &hosts.join(","))?;
    store_if_given(parameters, "port", &ports.join(","))?;
    Ok(rest)
}

fn parse_query(mut query: &str, parameters: &mut Parameters) -> Result<(), ConfigError> {
    while !query.is_empty() {
        let (pair, rest) = query.split_once('&').unwrap_or((query, ""));
        query = rest;
        // The text is not shown: it may be a piece of a password with an unencoded "?".
        let (raw_name, raw_value) = pair.split_once('=').ok_or(ConfigError::MissingEquals)?;
        let name = decode(raw_name, "a parameter's name")?;
        if raw_value.contains('=') {
            return Err(ConfigError::ExtraEquals { name });
        }
        let value = decode(raw_value, &name)?;
        // libpq reads JDBC's `ssl=true` as `sslmode=require`.
        let (name, value) = if name == "ssl" && value == "true" {
            ("sslmode".to_owned(), "require".to_owned())
        } else {
            (name, value)
        };
        let supported = PARAMETERS.iter().find(|(supported, _)| *supported == name);
        let (name, _) = supported.ok_or(ConfigError::UnsupportedParameter { name })?;
        parameters.insert(name, value);
    }
    Ok(())
}

/// Stores a part of the URL. An empty part counts as not given.
fn store_if_given(
    parameters: &mut Parameters,
    name: &'static str,
    raw: &str,
) -> Result<(), ConfigError> {
    if !raw.is_empty() {
        parameters.insert(name, decode(raw, name)?);
    }
    Ok(())
}

/// Percent-decodes one part of the URL. Errors contain the name of the part (`place`) and never its text,
/// which may be the password.
fn decode(raw: &str, place: &str) -> Result<String, ConfigError> {
    let error = |problem| ConfigError::Encoding {
        place: place.to_owned(),
        problem,
    };
    // libpq ignores spaces around a part and refuses them inside.
    let raw = raw.trim_matches(' ');
    if raw.contains(' ') {
        return Err(error("a space, to be written %20"));
    }
    for (at, _) in raw.match_indices('%') {
        let digits = raw.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(error(
                "a \"%\" that two hexadecimal digits do not follow (a plain % is written %25)",
            ));
        }
        if digits == b"00" {
            return Err(error("%00, which no parameter can hold"));
        }
    }
    // A text in the place of a port may be a piece of a password, so it is never shown.
    if place != "port" && is_placeholder(place, raw) {
        let (name, placeholder) = (place.to_owned(), raw.to_owned());
        return Err(ConfigError::Placeholder { name, placeholder });
    }
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| error("bytes that are not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(error("a zero byte, which no parameter can hold"));
    }
    Ok(decoded.into_owned())
}

/// Percent-encodes one part of a URL. [`parse`] returns the same text.
pub(crate) fn encode(part: &str) -> String {
    utf8_percent_encode(part, RESERVED).to_string()
}
