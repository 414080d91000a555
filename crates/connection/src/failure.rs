//! [`Kind`]: why an attempt to connect failed, from the SQLSTATE or, without one, from the error's
//! text.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use crate::error::ConfigError;

/// Why connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The host name has no address.
    HostNotFound,
    /// The address refused the TCP connection: no server listens on this port.
    Refused,
    /// The TCP connection was not established within `connect_timeout`.
    TimedOut,
    /// The TCP connection was established; the server did not answer within `connect_timeout`.
    NoAnswer,
    /// The server does not offer TLS.
    NoTls,
    /// The server accepts only connections with TLS.
    TlsRequired,
    /// The server's certificate is not from a trusted authority.
    UnknownAuthority,
    /// The server's certificate has expired.
    Expired,
    /// The certificate of the authority that issued the server's certificate has expired.
    AuthorityExpired,
    /// The server's certificate, or one of its authorities', is not yet valid.
    NotYetValid,
    /// The server's certificate is for another host name.
    OtherName,
    /// The server requires a client certificate, or does not accept this one.
    ClientCertificate,
    /// The server does not accept the user with this password.
    Password,
    /// The server asks for a password, and none is set.
    NoPassword,
    /// The server does not authorize this user, from this network, for this database.
    NotAuthorized,
    /// The database does not exist. CockroachDB reports this at the first statement instead.
    NoDatabase,
    /// The server is starting up or shutting down, or has too many connections.
    Busy,
    /// The password is hashed with more iterations than the `postgres` crate accepts.
    ScramIterations,
    /// The settings cannot be used.
    Settings,
    /// Another reason: see the message and the source.
    Other,
}

impl Kind {
    /// Whether no further address is tried. libpq's rule: after an authentication failure
    /// (password, certificate) the search ends.
    pub(crate) fn ends_search(self) -> bool {
        use Kind::{Busy, HostNotFound, NoAnswer, Other, Refused, TimedOut};
        !matches!(
            self,
            HostNotFound | Refused | TimedOut | NoAnswer | Busy | Other
        )
    }
}

pub(crate) type Source = Box<dyn Error + Send + Sync>;

/// A driver's error from one attempt to connect, with the server's SQLSTATE if the driver knows it.
///
/// Every error converts into it with `?`. An [`io::Error`] of kind `TimedOut` is recognised as the
/// end of the time limit, and a [`ConfigError`] as settings that the driver cannot honour.
pub struct AttemptError {
    pub(crate) source: Source,
    sqlstate: Option<String>,
}

impl AttemptError {
    /// Wraps a driver's error and the server's SQLSTATE.
    pub fn new(error: impl Into<Source>, sqlstate: Option<String>) -> AttemptError {
        let source = error.into();
        AttemptError { source, sqlstate }
    }

    /// Returns why the attempt failed, and the text of the server or the driver.
    pub(crate) fn classify(&self) -> (Kind, String) {
        let error: &(dyn Error + 'static) = &*self.source;
        let causes = || successors(Some(error), |&error| error.source());
        if error.is::<ConfigError>() {
            return (Kind::Settings, error.to_string());
        }
        if let Some(sqlstate) = &self.sqlstate {
            let text = causes().last().unwrap_or(error).to_string();
            let message = server_message(&text).unwrap_or(&text);
            return (of_server(Some(sqlstate), message), one_line(message));
        }
        let io_error = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
        match io_error.map(io::Error::kind) {
            Some(ErrorKind::TimedOut) => (Kind::TimedOut, String::new()),
            Some(ErrorKind::ConnectionRefused) => (Kind::Refused, String::new()),
            _ => of_text(&chain_text(error)),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for AttemptError {
    fn from(error: E) -> AttemptError {
        AttemptError::new(error, None)
    }
}

/// What a message of the server begins with, and what its first line ends with.
#[rustfmt::skip]
const SERVER_TEXTS: [(&str, &str, Kind); 13] = [
    ("password authentication failed for user ", "", Kind::Password),
    ("connection requires a valid client certificate", "", Kind::ClientCertificate),
    ("certificate authentication failed", "", Kind::ClientCertificate),
    ("no pg_hba.conf entry for ", "", Kind::NotAuthorized),
    ("pg_hba.conf rejects connection for ", "", Kind::NotAuthorized),
    ("role \"", "\" does not exist", Kind::NotAuthorized),
    ("", " is not permitted to log in", Kind::NotAuthorized),
    ("", " does not have login privilege", Kind::NotAuthorized),
    ("database \"", "\" does not exist", Kind::NoDatabase),
    ("the database system is ", "", Kind::Busy),
    ("sorry, too many clients already", "", Kind::Busy),
    ("remaining connection slots are reserved", "", Kind::Busy),
    ("too many connections for ", "", Kind::Busy),
];

/// What a text without an SQLSTATE contains, in the words of libpq, `postgres`, sqlx and OpenSSL.
/// The first that fits counts.
#[rustfmt::skip]
const DRIVER_TEXTS: [(&str, Kind); 17] = [
    ("no password supplied", Kind::NoPassword),
    ("password missing", Kind::NoPassword),
    ("SCRAM iteration count exceeds the maximum", Kind::ScramIterations),
    ("Connection refused", Kind::Refused),
    ("timeout expired", Kind::TimedOut),
    ("timed out", Kind::TimedOut),
    ("server does not support SSL", Kind::NoTls),
    ("server does not support TLS", Kind::NoTls),
    ("does not match host name", Kind::OtherName),
    ("ostname mismatch", Kind::OtherName),
    ("IP address mismatch", Kind::OtherName),
    ("certificate has expired", Kind::Expired),
    ("certificate verify failed", Kind::UnknownAuthority),
    ("alert certificate required", Kind::ClientCertificate),
    ("alert handshake failure", Kind::ClientCertificate),
    ("alert bad certificate", Kind::ClientCertificate),
    ("alert unknown ca", Kind::ClientCertificate),
];

/// Classifies an error message of the server.
fn of_server(sqlstate: Option<&str>, message: &str) -> Kind {
    let first_line = message.lines().next().unwrap_or_default().trim_end();
    let fits = |begin, end| first_line.starts_with(begin) && first_line.ends_with(end);
    let by_text = SERVER_TEXTS
        .iter()
        .find(|(begin, end, _)| fits(*begin, *end));
    let by_text = by_text.map(|(_, _, kind)| *kind);
    match sqlstate {
        Some("28P01") => Kind::Password,
        Some("3D000") => Kind::NoDatabase,
        Some("53300" | "57P03") => Kind::Busy,
        _ if fits("node is running secure mode, SSL connection required", "") => Kind::TlsRequired,
        // For example "LDAP authentication failed for user".
        None | Some("28000") if first_line.contains(" authentication failed for user \"") => {
            Kind::Password
        }
        // 28000 has several meanings, and libpq passes no SQLSTATE on.
        Some("28000") => by_text.unwrap_or(Kind::NotAuthorized),
        None => by_text.unwrap_or(Kind::Other),
        Some(_) => Kind::Other,
    }
}

/// Classifies the text of an error that carries no SQLSTATE.
fn of_text(text: &str) -> (Kind, String) {
    // libpq: `connection to server at "HOST" (ADDRESS), port N failed: ` precedes the reason.
    let prefixed = text.split_once("connection to server at \"");
    let reason = prefixed.and_then(|(_, rest)| rest.split_once(" failed: "));
    let text = reason.map_or(text, |(_, reason)| reason);
    if let Some(message) = server_message(text) {
        return (of_server(None, message), one_line(message));
    }
    let found = DRIVER_TEXTS
        .iter()
        .find(|(phrase, _)| text.contains(phrase));
    (found.map_or(Kind::Other, |(_, kind)| *kind), one_line(text))
}

/// Returns the message that follows the severity of a server's error: `FATAL:  `, `ERROR: `. A
/// server may translate the severity.
fn server_message(text: &str) -> Option<&str> {
    let (severity, message) = text.split_once(':')?;
    let is_severity = !severity.is_empty() && severity.chars().all(char::is_uppercase);
    (is_severity && severity != "SSL").then(|| message.trim_start())
}

/// Returns the texts of an error and its causes, without repetitions.
fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |&error| error.source()) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
