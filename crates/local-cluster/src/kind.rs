//! The two kinds of server.

use anyhow::Result;

use crate::binaries;

/// The database that a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CockroachDB: a single secure node.
    Cockroach,
    /// PostgreSQL, with TLS and password authentication.
    Postgres,
}

impl Kind {
    /// Returns the kinds to run a test on: PostgreSQL always, and CockroachDB if `$COCKROACH` or
    /// `PATH` has a binary.
    ///
    /// # Errors
    ///
    /// Returns an error if `$COCKROACH` is set and names no file.
    pub fn available() -> Result<Vec<Kind>> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Ok([Kind::Postgres].into_iter().chain(cockroach).collect())
    }
}
