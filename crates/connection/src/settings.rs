//! The settings: their table, and where their values come from.

use std::collections::HashMap;
use std::env;

use percent_encoding::percent_decode_str;

use crate::explain::{ConnectError, ensure, refuse};
use crate::location;

/// Each setting: its name as a parameter of the URL, its variable and its default.
pub(crate) const SETTINGS: [(&str, &str, &str); 13] = [
    ("user", "PGUSER", ""),
    ("password", "PGPASSWORD", ""),
    ("host", "PGHOST", ""),
    ("port", "PGPORT", "26257"),
    ("dbname", "PGDATABASE", "defaultdb"),
    ("application_name", "PGAPPNAME", ""),
    ("connect_timeout", "PGCONNECT_TIMEOUT", "10"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", "disable"),
    ("options", "PGOPTIONS", ""),
    ("sslmode", "PGSSLMODE", "verify-full"),
    ("sslrootcert", "PGSSLROOTCERT", ""),
    ("sslcert", "PGSSLCERT", ""),
    ("sslkey", "PGSSLKEY", ""),
];

/// The values by name, for each row of the table. A value that is not set is empty.
pub(crate) type Settings = HashMap<&'static str, String>;

/// Reads a URL. What it leaves out comes from the variables, then from the defaults.
pub(crate) fn read(
    url: &str,
    variables: &HashMap<String, String>,
) -> Result<Settings, ConnectError> {
    let mut settings = Settings::new();
    for (name, value) in location::split(url)? {
        // After `password=`, the name may be a piece of a password with an "&".
        let known = known(name).or(known(if url.contains("password=") { "" } else { name }))?;
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        let twice = format!("the parameter {name} is given twice\nRemove one of them.");
        ensure(settings.insert(known, value).is_none(), &twice)?;
    }
    for (name, variable, default) in SETTINGS {
        let value = settings.entry(name).or_default();
        if value.is_empty() {
            *value = variables
                .get(variable)
                .map_or(default.to_owned(), String::clone);
        }
    }
    Ok(settings)
}

/// Returns the name of a parameter as it is in the table.
pub(crate) fn known(name: &str) -> Result<&'static str, ConnectError> {
    let all = SETTINGS.map(|(known, ..)| known);
    let Some(known) = all.into_iter().find(|known| *known == name) else {
        let all = all.join(", ");
        return refuse(&format!(
            "the parameter {name} is not supported\nRemove it, or write it in options if it is a setting of \
             the session: options=-c%20NAME%3DVALUE. Supported are {all}: see \
             crates/connection/README.md."
        ));
    };
    Ok(known)
}

/// Reads the variables of the process and of the nearest `.env`; the process wins. None is empty. No
/// line is shown: it may contain a password.
pub(crate) fn variables() -> Result<HashMap<String, String>, ConnectError> {
    let mut variables = HashMap::new();
    let lines = match dotenvy::dotenv_iter() {
        Err(error) if !error.not_found() => return refuse(&format!("cannot read .env: {error}")),
        lines => lines.into_iter().flatten(),
    };
    for line in lines {
        let Some((name, value)) = line.ok().filter(|(_, value)| !value.contains('\0')) else {
            return refuse(
                "a line of .env is not NAME=value, or contains a NUL byte\n\
                 Put a value with spaces, quotes or a $ into single quotes.",
            );
        };
        variables.entry(name).or_insert(value);
    }
    for (name, value) in env::vars_os().filter(|(_, value)| !value.is_empty()) {
        // Bytes that are not UTF-8 are replaced, so that they fail later and are not ignored.
        let [name, value] = [name, value].map(|text| text.to_string_lossy().into_owned());
        variables.insert(name, value);
    }
    for value in variables.values_mut() {
        // A value that was read from a file often ends with a line feed.
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
    }
    variables.retain(|_, value| !value.is_empty());
    Ok(variables)
}
