//! The two kinds of server.

use std::path::Path;

use anyhow::{Context, Result};

use crate::binaries;
use crate::run::{RunAs, run};

/// The database that a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CockroachDB: one or three secure nodes.
    Cockroach,
    /// PostgreSQL, with TLS and password authentication.
    Postgres,
}

impl Kind {
    /// Returns the kinds to run a test on: PostgreSQL always, and CockroachDB if there is a
    /// binary: see [`Cluster::start`](crate::Cluster::start).
    ///
    /// # Errors
    ///
    /// Returns an error if `$COCKROACH` is set and names no file.
    pub fn available() -> Result<Vec<Kind>> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Ok([Kind::Postgres].into_iter().chain(cockroach).collect())
    }

    /// Returns the name and the version of the server that this kind starts, such as
    /// `CockroachDB v26.2.5`.
    ///
    /// # Errors
    ///
    /// Returns an error if this kind is not installed or its program cannot be run.
    pub fn version(self) -> Result<String> {
        let print =
            |program: &Path, arguments: &[&str]| run(RunAs(None).command(program).args(arguments));
        match self {
            Kind::Cockroach => {
                let binary = binaries::cockroach()?.context("no cockroach binary found")?;
                // All versions print this line.
                let printed = print(&binary, &["version"])?;
                let mut lines = printed.lines();
                let tag = lines.find_map(|line| line.strip_prefix("Build Tag:"));
                let version = tag.unwrap_or("of an unknown version").trim();
                Ok(format!("CockroachDB {version}"))
            }
            // It prints `postgres (PostgreSQL) 17.2 (Debian 17.2-1)`.
            Kind::Postgres => {
                let printed = print(&binaries::postgres()?.join("postgres"), &["--version"])?;
                let version = printed.split(' ').nth(2).unwrap_or_default();
                Ok(format!("PostgreSQL {version}"))
            }
        }
    }
}
