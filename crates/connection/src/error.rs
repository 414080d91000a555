//! [`ConfigError`]: what is wrong with the settings.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::parameters::PARAMETERS;

/// Settings that cannot be used.
///
/// The message says what is wrong and what to do. No variant contains the password, or a text that may be a
/// piece of it. `Debug` is `Display`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Neither `DATABASE_URL` nor `PGHOST` is set.
    #[error(
        "DATABASE_URL is not set\n\
         Copy .env.example to .env and put your cluster's connection string there, or run \
         `scripts/local-cluster start` for a cluster on this machine."
    )]
    NotSet,

    /// A variable is not UTF-8.
    #[error("{variable} is not valid UTF-8")]
    NotUnicode {
        /// The environment variable.
        variable: String,
    },

    /// A line of `.env` is not `NAME=value`.
    #[error(
        "{}, line {line}: this is not NAME=value\n\
         Put a value with spaces, quotes or a $ into single quotes.", path.display()
    )]
    DotenvLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },

    /// `.env` exists and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    DotenvUnreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// The connection string does not begin with `postgresql://` or `postgres://`.
    #[error(
        "DATABASE_URL must begin with postgresql:// or postgres://\n\
         Keyword/value strings (host=… user=…) are not supported; set PGHOST, PGUSER and so on instead."
    )]
    NotAUrl,

    /// An `@` that can only be part of a password that is not percent-encoded.
    #[error(
        "DATABASE_URL has an \"@\" that is not percent-encoded\n\
         In a user name, a password and a parameter write @ as %40, : as %3A, / as %2F and % as %25."
    )]
    StrayAt,

    /// An IPv6 address that is not `[…]`.
    #[error("the IPv6 address in DATABASE_URL {0}; it is written [::1]:26257")]
    Ipv6(&'static str),

    /// A host that is the directory of a Unix socket.
    #[error(
        "{origin} is the directory of a Unix socket, which is not supported\n\
         Write the name or the IP address of the server: localhost, for one on this machine."
    )]
    UnixSocket {
        /// Where the value is written.
        origin: String,
    },

    /// A query parameter without a value.
    #[error(
        "DATABASE_URL has a query parameter without \"=\"; parameters are written ?name=value&name=value"
    )]
    MissingEquals,

    /// A query parameter with two `=`.
    #[error(
        "DATABASE_URL has more than one \"=\" in the parameter {name}; within a value, write = as %3D"
    )]
    ExtraEquals {
        /// The parameter.
        name: String,
    },

    /// Percent-encoding that cannot be decoded.
    #[error("DATABASE_URL: {place} contains {problem}")]
    Encoding {
        /// The part of the URL.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A placeholder of a template that was not replaced.
    #[error(
        "{name} is still the placeholder {placeholder}\n\
         Put your own value there, in .env or in the environment."
    )]
    Placeholder {
        /// The parameter or variable.
        name: String,
        /// The placeholder itself.
        placeholder: String,
    },

    /// A parameter that does not exist, or that not every driver can honour.
    #[error(
        "the parameter {name} in DATABASE_URL is not supported\nSupported are: {}.",
        names()
    )]
    UnsupportedParameter {
        /// The parameter.
        name: String,
    },

    /// A variable of libpq that not every driver can honour.
    #[error("{name} is set, and not every driver can honour it\nUnset it to connect without it.")]
    UnsupportedVariable {
        /// The variable.
        name: &'static str,
    },

    /// A value that its parameter cannot have.
    #[error("{origin} is not valid: {expected}")]
    InvalidValue {
        /// Where the value is written: `sslmode in DATABASE_URL`, or `PGSSLMODE`.
        origin: String,
        /// The values that are valid.
        expected: String,
    },

    /// The number of ports is neither one nor the number of hosts.
    #[error("{ports} ports for {hosts} hosts: give one port for all of them, or one for each")]
    PortsAndHosts {
        /// How many ports.
        ports: usize,
        /// How many hosts.
        hosts: usize,
    },

    /// An `sslmode` that does not check the host name, with the operating system's certificates.
    #[error(
        "sslmode={sslmode} cannot be used with the operating system's certificates\n\
         Anyone can get a certificate from those authorities, so the host name must be checked as well: use \
         sslmode=verify-full, or name your cluster's ca.crt with sslrootcert."
    )]
    WeakWithSystemRoots {
        /// The mode.
        sslmode: &'static str,
    },

    /// A certificate or key file that cannot be used.
    #[error("{what} {}: {problem}", path.display())]
    File {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// A setting that this driver cannot honour.
    #[error("{0}")]
    Driver(String),
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn names() -> String {
    PARAMETERS.map(|(name, _)| name).join(", ")
}
