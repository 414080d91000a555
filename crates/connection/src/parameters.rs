//! The parameters of a connection: their names, their variables, and the variables that are refused.

use std::collections::BTreeMap;

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

/// Whether this value is or contains a placeholder of a template: `<password>`, `<certs_dir>/ca.crt`.
pub(crate) fn is_placeholder(parameter: &str, raw: &str) -> bool {
    let Some((before, rest)) = raw.split_once('<') else {
        return false;
    };
    let Some((name, after)) = rest.split_once('>') else {
        return false;
    };
    // A real password may contain angle brackets, and a placeholder is shown in the message.
    let is_password = parameter == "password";
    if is_password && !(before.is_empty() && after.is_empty() && names_a_password(name)) {
        return false;
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_- ".contains(c);
    !name.is_empty() && name.chars().all(is_word)
}

fn names_a_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["-password", "_password", " password"];
    name == "password" || ends.iter().any(|end| name.ends_with(end))
}
