//! Why a connection failed, and what to do about it: the one place that has the hints.
//!
//! The drivers tell their reasons in different types and words; what they have in common is the text. It
//! is matched here, so that the same mistake gets the same message from all three.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::iter::successors;

use crate::config::Config;
use crate::probe::ProbeError;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    HostNotFound,
    Refused,
    TimedOut,
    NoTls,
    TlsRequired,
    UnknownAuthority,
    Expired,
    NotYetValid,
    /// The names that the certificate does bear.
    OtherName(String),
    ClientCertificate(String),
    WrongPassword,
    NoPassword,
    NoDatabase,
    ScramIterations,
    /// Something else, in the driver's words.
    Other(String),
}

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This way of encrypting: `prefer` goes on in plain text.
    Encryption,
    /// This host: the next one is tried.
    Host,
    /// All of them. libpq: once a server has answered, an authentication failure ends the search.
    Everything,
}

impl Failure {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Failure {
        if let Some(ProbeError(failure)) = error.downcast_ref() {
            return failure.clone();
        }
        let mut causes = successors(Some(error), |&error| error.source());
        match causes
            .find_map(|cause| cause.downcast_ref::<io::Error>())
            .map(io::Error::kind)
        {
            // A socket's own time limit shows as WouldBlock.
            Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Failure::TimedOut,
            _ => Failure::of_text(&chain_text(error)),
        }
    }

    /// Recognises the words of `postgres`, libpq, sqlx, OpenSSL, PostgreSQL and CockroachDB.
    pub(crate) fn of_text(text: &str) -> Failure {
        let lower = text.to_lowercase();
        let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
        if says(&["password authentication failed"]) {
            Failure::WrongPassword
        } else if says(&["no password supplied", "password missing"]) {
            Failure::NoPassword
        } else if says(&["scram iteration count exceeds"]) {
            Failure::ScramIterations
        } else if says(&["ssl connection required", ", no encryption"]) {
            Failure::TlsRequired
        } else if says(&[
            "valid client certificate",
            "alert",
            "certificate authentication failed",
        ]) {
            Failure::ClientCertificate(one_line(text))
        } else if lower.contains("database")
            && says(&["does not exist", "target database or schema"])
        {
            Failure::NoDatabase
        } else if says(&["lookup address", "could not translate host name"]) {
            Failure::HostNotFound
        } else if says(&["connection refused", "no such file or directory"]) {
            Failure::Refused
        } else if says(&["timed out", "timeout expired"]) {
            Failure::TimedOut
        } else if says(&["server does not support"]) {
            Failure::NoTls
        } else if says(&["certificate has expired"]) {
            Failure::Expired
        } else if says(&[
            "does not match host name",
            "hostname mismatch",
            "ip address mismatch",
        ]) {
            Failure::OtherName(String::new())
        } else if says(&["certificate verify failed"]) {
            Failure::UnknownAuthority
        } else {
            Failure::Other(one_line(text))
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        match self {
            Failure::HostNotFound | Failure::Refused | Failure::TimedOut => Reach::Host,
            Failure::NoTls
            | Failure::UnknownAuthority
            | Failure::Expired
            | Failure::NotYetValid
            | Failure::OtherName(_)
            | Failure::ClientCertificate(_) => Reach::Encryption,
            Failure::TlsRequired
            | Failure::WrongPassword
            | Failure::NoPassword
            | Failure::NoDatabase
            | Failure::ScramIterations => Reach::Everything,
            // A server that is starting up or shutting down (SQLSTATE 57P03) answers, but not for good.
            Failure::Other(text) if text.contains("the database system is") => Reach::Host,
            Failure::Other(text) if text.contains("no pg_hba.conf entry") => Reach::Encryption,
            Failure::Other(text)
                if text.contains("FATAL") || text.contains("returned from database") =>
            {
                Reach::Everything
            }
            Failure::Other(_) => Reach::Host,
        }
    }

    /// What to do about it; empty where there is nothing better to say than what happened.
    pub(crate) fn hint(&self, config: &Config) -> String {
        match self {
            Failure::HostNotFound => {
                "Check the host in DATABASE_URL for typing errors, and your network.".into()
            }
            Failure::Refused => {
                "Is the server running, and is this its port? CockroachDB's is 26257. \
                                 `scripts/local-cluster start` starts a cluster on this machine."
                    .into()
            }
            Failure::TimedOut => {
                "A managed cluster lets in only the networks that are authorised: add this \
                                  machine's public address on the cluster's Networking page."
                    .into()
            }
            Failure::NoTls => format!(
                "sslmode={} asks for TLS. If this is the right server, switch TLS on there; sslmode=disable \
                 would send everything in clear text.",
                config.sslmode.name()
            ),
            Failure::TlsRequired => {
                "Use sslmode=verify-full and name your cluster's ca.crt with sslrootcert.".into()
            }
            Failure::UnknownAuthority => {
                "Download your cluster's ca.crt and name its place with sslrootcert. If \
                                          you did, it belongs to another cluster."
                    .into()
            }
            Failure::Expired => {
                "Renew the server's certificate, and check this machine's clock.".into()
            }
            Failure::NotYetValid => "Check this machine's clock, and the server's.".into(),
            Failure::OtherName(_) => "Connect by a name that the certificate bears.".into(),
            Failure::ClientCertificate(_) => {
                "Name your client certificate with sslcert and its key with sslkey; \
                                              it must be for the user in DATABASE_URL."
                    .into()
            }
            Failure::WrongPassword => {
                "Check user and password in DATABASE_URL. In a password, write @ as %40, : as \
                                       %3A, / as %2F and % as %25."
                    .into()
            }
            Failure::NoPassword => "Put the password into DATABASE_URL, or into PGPASSWORD.".into(),
            Failure::NoDatabase => format!(
                "Check the database in DATABASE_URL, or create it: CREATE DATABASE \"{}\"",
                config.dbname.replace('"', "\"\"")
            ),
            Failure::ScramIterations => format!(
                "CockroachDB 22.1 hashed this password 119,680 times, and the postgres crate takes at most \
                 100,000. Set the password anew, as an admin:\n\
                 SET CLUSTER SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = 10610;\n\
                 ALTER USER \"{}\" WITH PASSWORD '…';",
                config.user.replace('"', "\"\"")
            ),
            Failure::Other(_) => String::new(),
        }
    }

    /// What happened, in words.
    pub(crate) fn reason(&self, config: &Config) -> String {
        match self {
            Failure::WrongPassword => format!(
                "the server does not accept user {} with this password",
                config.user
            ),
            Failure::NoPassword => {
                format!("the server asks for a password for user {}", config.user)
            }
            Failure::NoDatabase => format!("there is no database {}", config.dbname),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::HostNotFound => "there is no host of this name",
            Failure::Refused => "nothing listens there (connection refused)",
            Failure::TimedOut => "no answer (timed out)",
            Failure::NoTls => "the server does not offer TLS",
            Failure::TlsRequired => "the server accepts only connections with TLS",
            Failure::UnknownAuthority => {
                "the server's certificate is from an authority that is not trusted"
            }
            Failure::Expired => "the server's certificate has expired",
            Failure::NotYetValid => "the server's certificate is not yet valid",
            Failure::OtherName(names) if names.is_empty() => {
                "the server's certificate is for another name"
            }
            Failure::OtherName(names) => {
                return write!(f, "the server's certificate is for another name: {names}");
            }
            Failure::ClientCertificate(text) => {
                return write!(
                    f,
                    "the server wants a client certificate, or another one: {text}"
                );
            }
            Failure::WrongPassword => "the server does not accept this user and password",
            Failure::NoPassword => "the server asks for a password",
            Failure::NoDatabase => "there is no such database",
            Failure::ScramIterations => "SCRAM iteration count exceeds the maximum allowed",
            Failure::Other(text) => text,
        })
    }
}

impl Error for Failure {}

/// An error and its causes in one line, each thing said once.
pub(crate) fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
