//! What can be wrong with the settings, in words for the person who wrote them.

use std::io;
use std::path::PathBuf;

use crate::parameters::PARAMETERS;

/// Settings that cannot be used. The message says what is wrong and what to do; no variant holds the
/// password or a text that may contain it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Neither `DATABASE_URL` nor `PGHOST` is set.
    #[error(
        "DATABASE_URL is not set\n\
         Copy .env.example to .env and put your cluster's connection string there, or run \
         `scripts/local-cluster start` for a cluster on this machine."
    )]
    NotSet,

    /// A variable holds something that is not UTF-8.
    #[error("{variable} is not valid UTF-8")]
    NotUnicode {
        /// The environment variable.
        variable: String,
    },

    /// `.env` has a line that is not `NAME=value`.
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

    /// `.env` is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    DotenvUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The connection string does not begin with `postgresql://` or `postgres://`.
    #[error(
        "DATABASE_URL must begin with postgresql:// or postgres://\n\
         Keyword/value strings (host=… user=…) are not understood; set PGHOST, PGUSER and so on instead."
    )]
    NotAUrl,

    /// An `@` where only a password that was not percent-encoded puts one.
    #[error(
        "DATABASE_URL has an \"@\" in its host or database\n\
         In a user name or password, write @ as %40, : as %3A, / as %2F and % as %25."
    )]
    StrayAt,

    /// An IPv6 literal that is not `[…]`.
    #[error("the IPv6 address in DATABASE_URL {0}; it is written [::1]:26257")]
    Ipv6(&'static str),

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

    /// A placeholder of a template is still there.
    #[error(
        "{name} is still the placeholder {placeholder}\nPut your own value there, in .env or in the environment."
    )]
    Placeholder {
        /// The parameter or variable.
        name: String,
        /// The placeholder itself.
        placeholder: String,
    },

    /// A parameter that libpq does not have either.
    #[error(
        "unknown parameter {name} in DATABASE_URL\nUnderstood are: {}.",
        names()
    )]
    UnknownParameter {
        /// The parameter.
        name: String,
    },

    /// A parameter of libpq that one of the three drivers would ignore.
    #[error(
        "the parameter {name} in DATABASE_URL is not supported: not all three drivers can honour it\n\
         Remove it, or use libpq itself. Understood are: {}.",
        names()
    )]
    UnsupportedParameter {
        /// The parameter.
        name: String,
    },

    /// A variable of libpq's that one of the three drivers would ignore.
    #[error(
        "{name} is set, and not all three drivers can honour it\nUnset it to connect without it."
    )]
    UnsupportedVariable {
        /// The variable.
        name: &'static str,
    },

    /// A value that its parameter cannot have.
    #[error("{origin} is not valid: {expected}")]
    InvalidValue {
        /// Where the value was written: `sslmode in DATABASE_URL`, or `PGSSLMODE`.
        origin: String,
        /// What it may be.
        expected: String,
    },

    /// The number of ports is neither one nor that of the hosts.
    #[error("{ports} ports for {hosts} hosts: give one port for all of them, or one for each")]
    PortsAndHosts {
        /// How many ports.
        ports: usize,
        /// How many hosts.
        hosts: usize,
    },

    /// An encrypted or checked connection that the chosen certificates do not allow.
    #[error(
        "sslmode={sslmode} cannot be used with the operating system's certificates\n\
         Anybody can get a certificate from the authorities there, so the host name must be checked as well: \
         use sslmode=verify-full, or name your cluster's ca.crt with sslrootcert."
    )]
    WeakWithSystemRoots {
        /// The mode that was asked for.
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
}

fn names() -> String {
    PARAMETERS.map(|(name, _)| name).join(", ")
}
