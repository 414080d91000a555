//! The kinds of server, and the faults that one can be started with.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::binaries;
use crate::run::{command, run};

/// The database that a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CockroachDB: one or three secure nodes.
    Cockroach,
    /// PostgreSQL, with TLS and password authentication.
    Postgres,
}

impl Kind {
    /// Returns the kinds to run a test on: PostgreSQL always, and CockroachDB if there is a binary.
    /// Returns an error if `$COCKROACH` is set and names no file.
    pub fn available() -> Result<Vec<Kind>> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Ok([Kind::Postgres].into_iter().chain(cockroach).collect())
    }

    /// Returns the name and the version of the server that this kind starts, such as
    /// `CockroachDB v26.2.5`.
    pub fn version(self) -> Result<String> {
        let mut command = command(self.program()?, None);
        match self {
            Kind::Cockroach => {
                let version = run(command.args(["version", "--build-tag"]))?;
                Ok(format!("CockroachDB {version}"))
            }
            // It prints `postgres (PostgreSQL) 17.2 (Debian 17.2-1)`.
            Kind::Postgres => {
                let printed = run(command.arg("--version"))?;
                let version = printed.split(' ').nth(2).unwrap_or_default();
                Ok(format!("PostgreSQL {version}"))
            }
        }
    }

    /// Returns the program of the server. The others of PostgreSQL are in the same directory.
    pub(crate) fn program(self) -> Result<PathBuf> {
        match self {
            Kind::Cockroach => binaries::cockroach()?.context(
                "no cockroach binary found: scripts/setup --cockroach downloads one, or set \
                 COCKROACH to the path of one",
            ),
            Kind::Postgres => Ok(binaries::postgres()?.join("postgres")),
        }
    }
}

/// A server configuration that makes clients with default settings fail to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server does not offer TLS.
    NoTls,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for the host `elsewhere.example`.
    OtherName,
    /// The root certificate has not signed the server's certificate.
    UnknownAuthority,
    /// The server requires a client certificate in addition to the password.
    ClientCertificate,
}
