//! The parameters of a connection: their names, their variables, and the variables that are
//! refused.

use std::collections::BTreeMap;

use crate::error::ConfigError;

/// Values by libpq's parameter name, as they are written in the URL.
pub(crate) type Parameters = BTreeMap<&'static str, String>;

/// Each supported parameter, with its environment variable.
///
/// Source: PostgreSQL's documentation, "Parameter Key Words" and "Environment Variables" of libpq.
pub(crate) const PARAMETERS: [(&str, &str); 13] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// Variables of libpq that not every driver can honour, with the values that change nothing.
pub(crate) const REFUSED_VARIABLES: [(&str, &[&str]); 20] = [
    ("PGCHANNELBINDING", &["prefer"]),
    ("PGDATESTYLE", &[]),
    ("PGGEQO", &[]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGHOSTADDR", &[]),
    ("PGMAXPROTOCOLVERSION", &["3.0"]),
    ("PGMINPROTOCOLVERSION", &["3.0"]),
    ("PGREQUIREAUTH", &[]),
    ("PGREQUIREPEER", &[]),
    ("PGREQUIRESSL", &[]),
    ("PGSERVICE", &[]),
    ("PGSSLCERTMODE", &["allow"]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGSSLMAXPROTOCOLVERSION", &[]),
    ("PGSSLMINPROTOCOLVERSION", &["TLSv1.2"]),
    ("PGSSLNEGOTIATION", &["postgres"]),
    ("PGSSLSNI", &["1"]),
    ("PGTARGETSESSIONATTRS", &["any"]),
    ("PGTZ", &[]),
];

/// Returns an error if this value is or contains a placeholder of a template: `<password>`,
/// `<certs_dir>/ca.crt`. The message shows `name` and the value.
pub(crate) fn refuse_placeholder(
    parameter: &str,
    name: &str,
    value: &str,
) -> Result<(), ConfigError> {
    let (before, rest) = value.split_once('<').unwrap_or_default();
    let (word, after) = rest.split_once('>').unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_- ".contains(c);
    let is_placeholder = match parameter {
        // The text may be a piece of a password, so it is never shown.
        "port" => false,
        // A real password may contain angle brackets.
        "password" => before.is_empty() && after.is_empty() && names_a_password(word),
        _ => true,
    };
    if !is_placeholder || word.is_empty() || !word.chars().all(is_word) {
        return Ok(());
    }
    Err(ConfigError::from(format!(
        "{name} is still the placeholder {value}\n\
         Put your own value there, in .env or in the environment."
    )))
}

fn names_a_password(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let before = word.strip_suffix("password");
    before.is_some_and(|before| before.is_empty() || before.ends_with(['-', '_', ' ']))
}
