//! [`Kind`]: why an attempt to connect failed, from the SQLSTATE or, without one, from the error's text.

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
    /// The TCP connection was established, and the server did not answer within `connect_timeout`.
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
    /// All kinds.
    #[cfg(test)]
    pub(crate) const ALL: [Kind; 20] = [
        Kind::HostNotFound,
        Kind::Refused,
        Kind::TimedOut,
        Kind::NoAnswer,
        Kind::NoTls,
        Kind::TlsRequired,
        Kind::UnknownAuthority,
        Kind::Expired,
        Kind::AuthorityExpired,
        Kind::NotYetValid,
        Kind::OtherName,
        Kind::ClientCertificate,
        Kind::Password,
        Kind::NoPassword,
        Kind::NotAuthorized,
        Kind::NoDatabase,
        Kind::Busy,
        Kind::ScramIterations,
        Kind::Settings,
        Kind::Other,
    ];

    /// Whether no further address is tried. libpq's rule: after an authentication failure (password,
    /// certificate) the search ends.
    pub(crate) fn ends_search(self) -> bool {
        !matches!(
            self,
            Kind::HostNotFound
                | Kind::Refused
                | Kind::TimedOut
                | Kind::NoAnswer
                | Kind::Busy
                | Kind::Other
        )
    }

    pub(crate) fn is_about_certificate(self) -> bool {
        matches!(
            self,
            Kind::UnknownAuthority | Kind::Expired | Kind::OtherName
        )
    }
}

/// A driver's error from one attempt to connect, with the server's SQLSTATE if the driver knows it.
///
/// Every error converts into it with `?`. An [`io::Error`] of kind `TimedOut` is recognised as the end of
/// the time limit, and a [`ConfigError`] as settings that the driver cannot honour.
pub struct AttemptError {
    pub(crate) source: Box<dyn Error + Send + Sync>,
    sqlstate: Option<String>,
}

impl AttemptError {
    /// Wraps a driver's error and the server's SQLSTATE.
    pub fn new(error: impl Error + Send + Sync + 'static, sqlstate: Option<&str>) -> AttemptError {
        AttemptError {
            source: Box::new(error),
            sqlstate: sqlstate.map(str::to_owned),
        }
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
            return of_server(Some(sqlstate), server_message(&text).unwrap_or(&text));
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

/// Classifies an error message of the server.
fn of_server(sqlstate: Option<&str>, message: &str) -> (Kind, String) {
    let begins = |phrases: &[&str]| phrases.iter().any(|phrase| message.starts_with(phrase));
    let is_missing = |what: &str| {
        begins(&[&format!("{what} \"")]) && first_line(message).ends_with("\" does not exist")
    };
    let certificate = [
        "connection requires a valid client certificate",
        "certificate authentication failed",
    ];
    let busy = [
        "the database system is ",
        "sorry, too many clients already",
        "remaining connection slots are reserved",
        "too many connections for ",
    ];
    let kind = match sqlstate {
        Some("28P01") => Kind::Password,
        Some("3D000") => Kind::NoDatabase,
        Some("53300" | "57P03") => Kind::Busy,
        _ if begins(&["node is running secure mode, SSL connection required"]) => Kind::TlsRequired,
        // libpq does not pass the SQLSTATE on, and 28000 has several meanings.
        None | Some("28000") => {
            if begins(&["password authentication failed for user "]) {
                Kind::Password
            } else if begins(&certificate) {
                Kind::ClientCertificate
            } else if sqlstate.is_some()
                || begins(&[
                    "no pg_hba.conf entry for ",
                    "pg_hba.conf rejects connection for ",
                ])
                || is_missing("role")
            {
                Kind::NotAuthorized
            } else if is_missing("database") {
                Kind::NoDatabase
            } else if begins(&busy) {
                Kind::Busy
            } else {
                Kind::Other
            }
        }
        _ => Kind::Other,
    };
    (kind, one_line(message))
}

/// Classifies the text of an error that carries no SQLSTATE, in the words of libpq, `postgres`, sqlx and
/// OpenSSL.
fn of_text(text: &str) -> (Kind, String) {
    // libpq: `connection to server at "HOST" (ADDRESS), port N failed: ` precedes the reason.
    let (_, text) = text
        .split_once("connection to server at \"")
        .and_then(|(_, rest)| rest.split_once(" failed: "))
        .unwrap_or(("", text));
    if let Some(message) = server_message(text) {
        return of_server(None, message);
    }
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let kind = if says(&["no password supplied", "password missing"]) {
        Kind::NoPassword
    } else if says(&["SCRAM iteration count exceeds the maximum"]) {
        Kind::ScramIterations
    } else if says(&["Connection refused"]) {
        Kind::Refused
    } else if says(&["timeout expired", "timed out"]) {
        Kind::TimedOut
    } else if says(&["server does not support SSL", "server does not support TLS"]) {
        Kind::NoTls
    } else if says(&[
        "does not match host name",
        "ostname mismatch",
        "IP address mismatch",
    ]) {
        Kind::OtherName
    } else if says(&["certificate has expired"]) {
        Kind::Expired
    } else if says(&["certificate verify failed"]) {
        Kind::UnknownAuthority
    } else if says(&[
        "alert certificate required",
        "alert handshake failure",
        "alert bad certificate",
        "alert unknown ca",
    ]) {
        Kind::ClientCertificate
    } else {
        Kind::Other
    };
    (kind, one_line(text))
}

/// Returns the message that follows the severity of a server's error: `FATAL:  `, `ERROR: `. A server may
/// translate the severity.
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

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
