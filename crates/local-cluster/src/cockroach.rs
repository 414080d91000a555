//! CockroachDB as a throwaway server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::binaries;
use crate::cluster::Security;
use crate::postgres::run;
use crate::supervised::{Identity, Supervised};

pub(crate) struct Cockroach {
    binary: PathBuf,
    directory: PathBuf,
    port: u16,
}

impl Cockroach {
    pub(crate) fn find(directory: &Path, port: u16, security: Security) -> Result<Cockroach> {
        if security != Security::Good {
            bail!("CockroachDB cannot be started with {security:?}");
        }
        let binary =
            binaries::cockroach()?.context("no cockroach binary: name one in COCKROACH")?;
        Ok(Cockroach {
            binary,
            directory: directory.to_owned(),
            port,
        })
    }

    pub(crate) fn start(&self) -> Result<Supervised> {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let command = [
            self.binary.display().to_string(),
            "start-single-node".to_owned(),
            format!("--certs-dir={}", at("certs")),
            format!("--store={}", at("data")),
            format!("--listen-addr=localhost:{}", self.port),
            "--http-addr=localhost:0".to_owned(),
        ];
        let mut server = Supervised::start(Identity::OURSELVES, "TERM", &self.directory, &command)?;
        server.wait_until(|| self.execute("system", "SELECT 1").is_ok())?;
        Ok(server)
    }

    pub(crate) fn prepare(&self, user: &str, password: &str) -> Result<()> {
        // The 22.1 line hashes passwords more often than the postgres crate accepts.
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
        // The client follows COCKROACH_URL and the like where they are set.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COCKROACH_") {
                cockroach.env_remove(name);
            }
        }
        run(&mut cockroach)
    }
}
