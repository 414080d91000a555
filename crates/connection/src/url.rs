//! The grammar of a connection URL, which is libpq's. The values stay strings here.
//!
//! Source: PostgreSQL's documentation, "Connection URIs"
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>), and the
//! behaviour of `psql` for what the page does not say.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::ConfigError;
use crate::parameters::{PARAMETERS, Parameters, refuse_placeholder};

/// Every character except those that RFC 3986 calls unreserved, and the `*` of a hidden password.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');
const ENCODED: &AsciiSet = &RESERVED.remove(b'_').remove(b'~').remove(b'*');

/// Reads `postgresql://[user[:password]@][host[:port][,…]][/dbname][?name=value[&…]]`.
pub(crate) fn parse(url: &str) -> Result<Parameters, ConfigError> {
    let url = url.trim();
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"));
    let rest = rest.ok_or(
        "DATABASE_URL must begin with postgresql:// or postgres://\n\
         Keyword/value strings (host=… user=…) are not supported; set PGHOST, PGUSER and so on \
         instead.",
    )?;
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
/// libpq looks for the `@` up to the first `/`, so both must be percent-encoded in a password. If
/// they are not, a piece of the password would be read as a host, a database or a parameter and
/// shown in messages: so an `@` anywhere in the rest is an error, before anything is decoded.
fn parse_user<'a>(rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let split = rest.split_once('@').filter(|(user, _)| !user.contains('/'));
    let (credentials, rest) = split.unwrap_or(("", rest));
    if rest.contains('@') {
        return Err(ConfigError::from(
            "DATABASE_URL has an \"@\" that is not percent-encoded\n\
             In a user name, a password and a parameter write @ as %40, : as %3A, / as %2F and % as \
             %25.",
        ));
    }
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    store_if_given(parameters, "user", user)?;
    store_if_given(parameters, "password", password)?;
    Ok(rest)
}

/// Reads the comma-separated hosts and ports and returns what follows them: the path and the query.
fn parse_hosts<'a>(rest: &'a str, parameters: &mut Parameters) -> Result<&'a str, ConfigError> {
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in authority.split(',') {
        let (host, after) = match part.strip_prefix('[') {
            Some(address) => address
                .split_once(']')
                .ok_or_else(|| ipv6("has no closing \"]\""))?,
            None => part.split_at(part.find(':').unwrap_or(part.len())),
        };
        if part.starts_with("[]") {
            return Err(ipv6("is empty"));
        }
        if !after.is_empty() && !after.starts_with(':') {
            let problem = "is followed by something that is neither \":\" nor \"/\"";
            return Err(ipv6(problem));
        }
        hosts.push(host);
        ports.push(after.strip_prefix(':').unwrap_or_default());
    }
    store_if_given(parameters, "host", &hosts.join(","))?;
    store_if_given(parameters, "port", &ports.join(","))?;
    Ok(rest)
}

fn ipv6(problem: &str) -> ConfigError {
    format!("the IPv6 address in DATABASE_URL {problem}; it is written [::1]:26257").into()
}

fn parse_query(mut query: &str, parameters: &mut Parameters) -> Result<(), ConfigError> {
    while !query.is_empty() {
        let pair;
        (pair, query) = query.split_once('&').unwrap_or((query, ""));
        // The text is not shown: it may be a piece of a password with an unencoded "?".
        let (name, value) = pair.split_once('=').ok_or(
            "DATABASE_URL has a query parameter without \"=\"; parameters are written \
             ?name=value&name=value",
        )?;
        let name = decode(name, "a parameter's name")?;
        // After a password, the name may be a piece of it, with an unencoded "&" before it.
        let shown = match parameters.contains_key("password") && !query_names().contains(&&*name) {
            true => "after the password",
            false => name.as_str(),
        };
        if value.contains('=') {
            return Err(ConfigError::from(format!(
                "DATABASE_URL has more than one \"=\" in the parameter {shown}; within a value, write \
                 = as %3D"
            )));
        }
        // libpq reads JDBC's `ssl=true` as `sslmode=require`.
        let (name, value) = match (name.as_str(), value) {
            ("ssl", "true") => ("sslmode", "require"),
            pair => pair,
        };
        let Some(supported) = query_names()
            .into_iter()
            .find(|supported| *supported == name)
        else {
            return Err(ConfigError::from(format!(
                "the parameter {shown} in DATABASE_URL is not supported\nSupported are: {}.",
                query_names().join(", ")
            )));
        };
        parameters.insert(supported, decode(value, supported)?);
    }
    Ok(())
}

fn query_names() -> [&'static str; PARAMETERS.len()] {
    PARAMETERS.map(|(name, _)| name)
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

/// Percent-decodes one part of the URL. Errors contain the name of the part (`place`) and never its
/// text, which may be the password.
fn decode(raw: &str, place: &str) -> Result<String, ConfigError> {
    let error =
        |problem: &str| ConfigError::from(format!("DATABASE_URL: {place} contains {problem}"));
    // libpq ignores spaces around a part and refuses them inside.
    let raw = raw.trim_matches(' ');
    if raw.contains(' ') {
        return Err(error("a space, to be written %20"));
    }
    for (at, _) in raw.match_indices('%') {
        let digits = raw.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            let problem = "a \"%\" that two hexadecimal digits do not follow";
            return Err(error(&format!("{problem} (a plain % is written %25)")));
        }
    }
    refuse_placeholder(place, place, raw)?;
    let decoded = percent_decode_str(raw).decode_utf8();
    let decoded = decoded.map_err(|_| error("bytes that are not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(error("%00, which no parameter can hold"));
    }
    Ok(decoded.into_owned())
}

/// Percent-encodes one part of a URL. [`parse`] returns the same text.
pub(crate) fn encode(part: &str) -> String {
    utf8_percent_encode(part, ENCODED).to_string()
}
