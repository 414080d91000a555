//! The parameters of a connection: their names, and the variables that stand in for them.

use std::collections::BTreeMap;

use crate::error::ConfigError;

/// Values by libpq's parameter name, as somebody wrote them.
pub(crate) type Parameters = BTreeMap<&'static str, String>;

/// Each parameter that is understood, with its environment variable.
///
/// Source: PostgreSQL's documentation, "Parameter Key Words" and "Environment Variables" of libpq.
pub(crate) const PARAMETERS: [(&str, &str); 12] = [
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
];

/// Parameters that libpq has and that one of the three drivers cannot honour.
const LIBPQ_ONLY: [&str; 42] = [
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "tty",
];

/// Variables by which libpq would ask for more safety, or for another server, than the three drivers can
/// all give.
pub(crate) const REFUSED_VARIABLES: [&str; 17] = [
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGHOSTADDR",
    "PGLOADBALANCEHOSTS",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLNEGOTIATION",
    "PGTARGETSESSIONATTRS",
];

/// The parameter of this name, or the reason why there is none.
pub(crate) fn known(name: &str) -> Result<&'static str, ConfigError> {
    if let Some((known, _)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
        Ok(known)
    } else if LIBPQ_ONLY.contains(&name) {
        Err(ConfigError::UnsupportedParameter {
            name: name.to_owned(),
        })
    } else {
        Err(ConfigError::UnknownParameter {
            name: name.to_owned(),
        })
    }
}

/// Whether this value is a placeholder of a template, such as `<password>`, or holds one, as
/// `<certs_dir>/ca.crt` does.
pub(crate) fn is_placeholder(parameter: &str, raw: &str) -> bool {
    let Some((before, rest)) = raw.split_once('<') else {
        return false;
    };
    let Some((name, after)) = rest.split_once('>') else {
        return false;
    };
    // A real password may well hold angle brackets, and a placeholder is shown in the message.
    if parameter == "password" && !(before.is_empty() && after.is_empty() && names_a_password(name))
    {
        return false;
    }
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_- ".contains(c))
}

fn names_a_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "password"
        || name.ends_with("-password")
        || name.ends_with("_password")
        || name.ends_with(" password")
}
