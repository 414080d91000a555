//! Starts CockroachDB and runs SQL on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::binaries;
use crate::process::ServerProcess;
use crate::run::{RunAs, run};

/// A single-node CockroachDB cluster: its binary, its files and its port.
pub(crate) struct Cockroach {
    binary: PathBuf,
    directory: PathBuf,
    port: u16,
}

impl Cockroach {
    pub(crate) fn new(directory: &Path, port: u16) -> Result<Cockroach> {
        let binary = binaries::cockroach()?
            .context("no cockroach binary found: set COCKROACH to the path of one")?;
        Ok(Cockroach {
            binary,
            directory: directory.to_owned(),
            port,
        })
    }

    /// Starts the server and waits until it accepts SQL.
    pub(crate) fn start(&self) -> Result<ServerProcess> {
        let mut command = RunAs::CurrentUser.command(&self.binary);
        command.arg("start-single-node").args([
            self.certs_flag(),
            format!("--store={}", self.directory.join("data").display()),
            format!("--listen-addr=localhost:{}", self.port),
            "--http-addr=localhost:0".to_owned(),
        ]);
        ServerProcess::start(
            &command,
            RunAs::CurrentUser,
            "TERM",
            &self.directory,
            || self.execute("system", "SELECT 1").is_ok(),
        )
    }

    /// Creates an admin user.
    pub(crate) fn create_user(&self, user: &str, password: &str) -> Result<()> {
        // CockroachDB 22.1 hashes passwords more often than postgres and tokio-postgres accept.
        // Older versions do not have this setting, and newer versions do not need it.
        let setting = "server.user_login.password_hashes.default_cost.scram_sha_256";
        let _ = self.execute("system", &format!("SET CLUSTER SETTING {setting} = 10610"));
        self.execute(
            "system",
            &format!("CREATE USER {user} WITH PASSWORD '{password}'"),
        )?;
        self.execute("system", &format!("GRANT admin TO {user}"))?;
        Ok(())
    }

    /// Runs SQL as `root` and returns what the client prints.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        let mut cockroach = RunAs::CurrentUser.command(&self.binary);
        cockroach.args([
            "sql",
            &self.certs_flag(),
            &format!("--host=localhost:{}", self.port),
            "--format=tsv",
            "-d",
            database,
            "-e",
            sql,
        ]);
        run(&mut cockroach)
    }

    fn certs_flag(&self) -> String {
        format!("--certs-dir={}", self.directory.join("certs").display())
    }
}
