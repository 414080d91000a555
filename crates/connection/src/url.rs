//! The grammar of a connection URL, as libpq has it.
//!
//! Source: PostgreSQL's documentation, "Connection URIs"
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>), and `psql` where
//! the page is silent. Reading a URL gives strings only; what they mean is settled in `config`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::ConfigError;
use crate::parameters::{self, Parameters};

/// What is left as it is when a part of a URL is written: the characters that RFC 3986 calls unreserved.
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
    if path.contains('@') {
        return Err(ConfigError::StrayAt);
    }
    let database = path.strip_prefix('/').unwrap_or("");
    store_if_given(&mut parameters, "dbname", database)?;
    parse_query(query, &mut parameters)?;
    Ok(parameters)
}

/// libpq looks for the `@` up to the first `/`, so both must be percent-encoded in a password. Where they
/// are not, the rest of the password would be read as a host or a database and shown in messages: a stray
/// `@` is refused, here and in the host and the database.
fn parse_user<'a>(rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let Some(end) = rest
        .find(['@', '/'])
        .filter(|&end| rest[end..].starts_with('@'))
    else {
        return Ok(rest);
    };
    let (user, password) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
    store_if_given(parameters, "user", user)?;
    store_if_given(parameters, "password", password)?;
    Ok(&rest[end + 1..])
}

/// Reads the comma-separated hosts and ports and returns what follows: the path and the query.
fn parse_hosts<'a>(mut rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
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
                return Err(ConfigError::Ipv6(
                    "is followed by something that is neither \":\" nor \"/\"",
                ));
            }
        } else {
            let end = rest.find([':', '/', '?', ',']).unwrap_or(rest.len());
            (host, rest) = rest.split_at(end);
        }
        if host.contains('@') {
            return Err(ConfigError::StrayAt);
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
        // A missing "=" is named by where it stands: its text may be a piece of a password whose `?` was
        // not percent-encoded.
        let (raw_name, raw_value) = pair.split_once('=').ok_or(ConfigError::MissingEquals)?;
        let name = decode(raw_name, "a parameter's name")?;
        if raw_value.contains('=') {
            return Err(ConfigError::ExtraEquals { name });
        }
        let value = decode(raw_value, &name)?;
        // libpq takes JDBC's `ssl=true` for `sslmode=require`.
        let (name, value) = if name == "ssl" && value == "true" {
            ("sslmode".into(), "require".into())
        } else {
            (name, value)
        };
        parameters.insert(parameters::known(&name)?, value);
    }
    Ok(())
}

/// A part of the URL that is empty counts as not given; lists such as `,` keep their empty members.
fn store_if_given(
    parameters: &mut Parameters,
    name: &'static str,
    raw: &str,
) -> Result<(), ConfigError> {
    if !raw.is_empty() && raw.chars().any(|c| c != ',') || raw.contains(',') && name == "host" {
        parameters.insert(name, decode(raw, name)?);
    }
    Ok(())
}

/// Percent-decodes one part. `place` names it in errors, which never show the text itself: it may be the
/// password.
fn decode(raw: &str, place: &str) -> Result<String, ConfigError> {
    let error = |problem| ConfigError::Encoding {
        place: place.to_owned(),
        problem,
    };
    // libpq ignores spaces around a part and refuses them within.
    let raw = raw.trim_matches(' ');
    if raw.contains(' ') {
        return Err(error("a space, to be written %20"));
    }
    let malformed = |escape: &[u8]| {
        escape.len() < 2 || !escape[0].is_ascii_hexdigit() || !escape[1].is_ascii_hexdigit()
    };
    let escapes = raw
        .match_indices('%')
        .map(|(at, _)| &raw.as_bytes()[at + 1..]);
    for escape in escapes {
        if malformed(escape) {
            return Err(error(
                "a \"%\" that two hexadecimal digits do not follow (a plain % is written %25)",
            ));
        }
        if escape.starts_with(b"00") {
            return Err(error("%00, which no parameter can hold"));
        }
    }
    if parameters::is_placeholder(place, raw) {
        return Err(ConfigError::Placeholder {
            name: place.to_owned(),
            placeholder: raw.to_owned(),
        });
    }
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| error("bytes that are not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(error("a zero byte, which no parameter can hold"));
    }
    Ok(decoded.into_owned())
}

/// Percent-encodes a part so that [`parse`] gives it back unharmed.
pub(crate) fn encode(part: &str) -> String {
    utf8_percent_encode(part, RESERVED).to_string()
}
