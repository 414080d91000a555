//! Starts CockroachDB and runs SQL on it.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        let at = |name: &str| self.directory.join(name).display().to_string();
        let command = [
            self.binary.display().to_string(),
            "start-single-node".to_owned(),
            format!("--certs-dir={}", at("certs")),
            format!("--store={}", at("data")),
            format!("--listen-addr=localhost:{}", self.port),
            "--http-addr=localhost:0".to_owned(),
        ];
        let mut server =
            ServerProcess::start(RunAs::CurrentUser, "TERM", &self.directory, &command)?;
        server.wait_until(|| self.execute("system", "SELECT 1").is_ok())?;
        Ok(server)
    }

    /// Creates an admin user.
    pub(crate) fn create_user(&self, user: &str, password: &str) -> Result<()> {
        // CockroachDB 22.1 hashes passwords more often than postgres and tokio-postgres accept.
        self.execute(
            "system",
            "SET CLUSTER SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = 10610",
        )?;
        self.execute(
            "system",
            &format!("CREATE USER {user} WITH PASSWORD '{password}'"),
        )?;
        self.execute("system", &format!("GRANT admin TO {user}"))?;
        Ok(())
    }

    /// Runs SQL as `root` and returns what the client prints.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        let mut cockroach = Command::new(&self.binary);
        cockroach.arg("sql").arg(format!(
            "--certs-dir={}",
            self.directory.join("certs").display()
        ));
        cockroach.args([
            &format!("--host=localhost:{}", self.port),
            "--format=tsv",
            "-d",
            database,
            "-e",
            sql,
        ]);
        // The client would use COCKROACH_URL and similar variables instead of these arguments.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COCKROACH_") {
                cockroach.env_remove(name);
            }
        }
        run(&mut cockroach)
    }
}
