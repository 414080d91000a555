//! Variants of the connection string: with a schema, with another port, without the password, and a
//! copy that shares nothing.

use anyhow::Result;
use crdb_connection::DatabaseUrl;
use percent_encoding::percent_decode_str;

/// Returns the text `postgresql://USER:PASSWORD@HOSTS/DATABASE?PARAMETERS`, of which
/// [`DatabaseUrl`] accepts every part again.
fn text(url: &DatabaseUrl) -> String {
    let text = url.for_libpq();
    // The parameters that libpq has and `DatabaseUrl` does not accept come last.
    match text.split_once("&keepalives_idle") {
        Some((accepted, _)) => accepted.to_owned(),
        None => text,
    }
}

/// Returns an equal value with an OpenSSL connector of its own.
pub fn copy(url: &DatabaseUrl) -> Result<DatabaseUrl> {
    Ok(text(url).parse()?)
}

/// Splits the text at the `@` before the hosts and the `/` after them, which are always there.
fn split(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_once('@').unwrap_or_default();
    let (hosts, after) = rest.split_once('/').unwrap_or_default();
    (before, hosts, after)
}

/// Returns the hosts with their ports.
pub fn hosts(url: &DatabaseUrl) -> String {
    split(&text(url)).1.to_owned()
}

/// Returns the port of a server on this machine.
pub fn local_port(url: &DatabaseUrl) -> Option<u16> {
    let hosts = hosts(url);
    let (name, port) = hosts.split_once(':')?;
    // A list of hosts has no port that is a number here.
    let is_local = ["localhost", "127.0.0.1"].contains(&name);
    is_local.then(|| port.parse().ok())?
}

/// Replaces the port of the only host.
pub fn with_port(url: &DatabaseUrl, port: u16) -> Result<DatabaseUrl> {
    let text = text(url);
    let (before, host, after) = split(&text);
    let (name, _) = host.split_once(':').unwrap_or((host, ""));
    Ok(format!("{before}@{name}:{port}/{after}").parse()?)
}

/// Puts a schema first on the `search_path`.
pub fn with_schema(url: &DatabaseUrl, schema: &str) -> Result<DatabaseUrl> {
    let text = text(url);
    let option = format!("-c%20search_path%3D{schema}");
    let with_option = match text.split_once("&options=") {
        // The last option wins. `sslmode` is always there and comes after `options`.
        Some((before, after)) => {
            let after = after.replacen('&', &format!("%20{option}&"), 1);
            format!("{before}&options={after}")
        }
        None => format!("{text}&options={option}"),
    };
    Ok(with_option.parse()?)
}

/// Returns the text for libpq without the password, and the password, decoded.
pub fn without_password(url: &DatabaseUrl) -> (String, Option<String>) {
    let text = url.for_libpq();
    let (before, hosts, after) = split(&text);
    let credentials = before.trim_start_matches("postgresql://");
    let Some((user, password)) = credentials.split_once(':') else {
        return (text, None);
    };
    let password = percent_decode_str(password).decode_utf8_lossy();
    let text = format!("postgresql://{user}@{hosts}/{after}");
    (text, Some(password.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> DatabaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_schema_comes_after_the_options_of_the_user() {
        let plain = "postgresql://demo:x@localhost:1/bank?sslmode=disable";
        let text = |url: &str| with_schema(&self::url(url), "s_1").unwrap().for_libpq();
        let option = "&options=-c%20search_path%3Ds_1&sslmode=disable";
        assert!(text(plain).contains(option), "{}", text(plain));
        let own = format!("{plain}&options=-c%20search_path=mine&application_name=a");
        let both = "&options=-c%20search_path%3Dmine%20-c%20search_path%3Ds_1&sslmode=disable";
        assert!(text(&own).contains(both), "{}", text(&own));
    }

    #[test]
    fn a_relay_stands_only_before_a_single_server_on_this_machine() {
        let port = |hosts: &str| local_port(&url(&format!("postgresql://demo@{hosts}/bank")));
        assert_eq!(port("localhost"), Some(26257));
        assert_eq!(port("127.0.0.1:5"), Some(5));
        assert_eq!(port("localhost:1,localhost:2"), None);
        assert_eq!(port("db.example:26257"), None);
    }

    #[test]
    fn the_password_is_taken_out_and_decoded() {
        let plain = url("postgresql://de%40mo:p%40%3A%20x@localhost:1/b");
        let (text, password) = without_password(&plain);
        assert!(text.starts_with("postgresql://de%40mo@localhost:1/b?"));
        assert_eq!(password.as_deref(), Some("p@: x"));
        let (text, password) = without_password(&url("postgresql://demo@localhost:1/b"));
        assert!(text.starts_with("postgresql://demo@localhost:1/b?"));
        assert_eq!(password, None);
    }
}
