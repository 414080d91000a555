//! Starts PostgreSQL and runs SQL on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::binaries;
use crate::fault::Fault;
use crate::process::ServerProcess;
use crate::run::{RunAs, run};

/// A PostgreSQL server: its programs, its files and its port.
pub(crate) struct Postgres {
    programs: PathBuf,
    run_as: RunAs,
    directory: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn new(directory: &Path, port: u16) -> Result<Postgres> {
        let run_as = RunAs::for_postgres()?;
        Ok(Postgres {
            programs: binaries::postgres()?,
            run_as,
            directory: directory.to_owned(),
            port,
        })
    }

    /// Creates the data directory with `postgresql.conf` and `pg_hba.conf`.
    pub(crate) fn create_files(&self, fault: Option<Fault>) -> Result<()> {
        let data = self.directory.join("data");
        fs::create_dir(&data)?;
        self.run_as.chown(&self.directory)?;
        let mut initdb = self.run_as.command(self.programs.join("initdb"));
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
        let ssl = if fault == Some(Fault::NoTls) {
            "off"
        } else {
            "on"
        };
        let settings = [
            ("listen_addresses", "127.0.0.1, ::1".to_owned()),
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.directory.display().to_string(),
            ),
            ("password_encryption", "scram-sha-256".to_owned()),
            ("ssl", ssl.to_owned()),
            (
                "ssl_cert_file",
                certs.join("node.crt").display().to_string(),
            ),
            ("ssl_key_file", certs.join("node.key").display().to_string()),
            ("ssl_ca_file", certs.join("ca.crt").display().to_string()),
            // By default PostgreSQL waits a second before it looks for a deadlock.
            ("deadlock_timeout", "10ms".to_owned()),
            // The data need not survive a power failure.
            ("fsync", "off".to_owned()),
        ];
        let settings: String = settings
            .iter()
            .map(|(name, value)| format!("{name} = '{value}'\n"))
            .collect();
        let rule = match fault {
            Some(Fault::NoTls) => "host all all all scram-sha-256",
            Some(Fault::ClientCertificate) => {
                "hostssl all all all scram-sha-256 clientcert=verify-full"
            }
            _ => "hostssl all all all scram-sha-256",
        };
        // The socket needs no password: only the owner of its directory can reach it.
        let rules = format!("local all all trust\n{rule}\n");
        fs::write(data.join("pg_hba.conf"), rules)?;
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings)?;
        Ok(())
    }

    /// Starts the server and waits until it accepts SQL.
    pub(crate) fn start(&self) -> Result<ServerProcess> {
        let command = [
            self.programs.join("postgres"),
            "-D".into(),
            self.directory.join("data"),
        ];
        let command = command.map(|part| part.to_string_lossy().into_owned());
        // SIGINT requests a fast shutdown, which closes the clients' connections.
        let mut server = ServerProcess::start(self.run_as, "INT", &self.directory, &command)?;
        server.wait_until(|| self.execute("postgres", "SELECT 1").is_ok())?;
        Ok(server)
    }

    /// Creates a user and a database that belongs to it.
    pub(crate) fn create_user(&self, user: &str, password: &str, database: &str) -> Result<()> {
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

    /// Runs SQL as the superuser and returns what psql prints.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.run_as.command(self.programs.join("psql"));
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
