//! PostgreSQL as a throwaway server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::binaries;
use crate::cluster::Security;
use crate::supervised::{Identity, Supervised, create_log};

pub(crate) struct Postgres {
    programs: PathBuf,
    identity: Identity,
    directory: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn find(directory: &Path, port: u16) -> Result<Postgres> {
        let identity = Identity::for_postgres()?;
        Ok(Postgres {
            programs: binaries::postgres()?,
            identity,
            directory: directory.to_owned(),
            port,
        })
    }

    /// The data directory, and its settings and rules of access.
    pub(crate) fn create_files(&self, security: Security) -> Result<()> {
        let data = self.directory.join("data");
        fs::create_dir(&data)?;
        create_log(&self.directory)?;
        self.identity.own(&self.directory)?;
        let mut initdb = self.identity.command(self.programs.join("initdb"));
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]);
        run(initdb
            .args(["--no-sync", "--no-instructions"])
            .current_dir("/"))?;

        let certs = self.directory.join("certs");
        let settings = [
            ("listen_addresses", "127.0.0.1, ::1".to_owned()),
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.directory.display().to_string(),
            ),
            ("password_encryption", "scram-sha-256".to_owned()),
            (
                "ssl",
                if security == Security::NoTls {
                    "off"
                } else {
                    "on"
                }
                .to_owned(),
            ),
            (
                "ssl_cert_file",
                certs.join("node.crt").display().to_string(),
            ),
            ("ssl_key_file", certs.join("node.key").display().to_string()),
            ("ssl_ca_file", certs.join("ca.crt").display().to_string()),
            // PostgreSQL waits a second before it looks for a deadlock; CockroachDB does not.
            ("deadlock_timeout", "10ms".to_owned()),
            // Nobody needs this data after a power failure.
            ("fsync", "off".to_owned()),
        ];
        let settings: String = settings
            .iter()
            .map(|(name, value)| format!("{name} = '{value}'\n"))
            .collect();
        let rule = match security {
            Security::NoTls => "host all all all scram-sha-256",
            Security::ClientCertificate => {
                "hostssl all all all scram-sha-256 clientcert=verify-full"
            }
            _ => "hostssl all all all scram-sha-256",
        };
        // The socket lies in a directory that nobody else can enter.
        let rules = format!("local all all trust\n{rule}\n");
        fs::write(data.join("pg_hba.conf"), rules)?;
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings)?;
        Ok(())
    }

    pub(crate) fn start(&self) -> Result<Supervised> {
        let command = [
            self.programs.join("postgres"),
            "-D".into(),
            self.directory.join("data"),
        ];
        let command = command.map(|part| part.to_string_lossy().into_owned());
        // SIGINT is PostgreSQL's "fast shutdown": it does not wait for clients to leave.
        let mut server = Supervised::start(self.identity, "INT", &self.directory, &command)?;
        server.wait_until(|| self.execute("postgres", "SELECT 1").is_ok())?;
        Ok(server)
    }

    pub(crate) fn prepare(&self, user: &str, password: &str, database: &str) -> Result<()> {
        self.execute(
            "postgres",
            &format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"),
        )?;
        self.execute(
            "postgres",
            &format!("CREATE DATABASE {database} OWNER {user}"),
        )?;
        Ok(())
    }

    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.identity.command(self.programs.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        psql.arg("-h")
            .arg(&self.directory)
            .args(["-p", &self.port.to_string(), "-c", sql]);
        run(psql.current_dir("/"))
    }
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    // What the person's environment says about servers of their own is not for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
