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
    /// Creates the data directory.
    pub(crate) fn new(directory: &Path, port: u16, fault: Option<Fault>) -> Result<Postgres> {
        let postgres = Postgres {
            programs: binaries::postgres()?,
            run_as: RunAs::for_postgres()?,
            directory: directory.to_owned(),
            port,
        };
        postgres.create_files(fault)?;
        Ok(postgres)
    }

    fn create_files(&self, fault: Option<Fault>) -> Result<()> {
        let data = self.directory.join("data");
        self.run_as.chown(&self.directory)?;
        let mut initdb = self.run_as.command(self.programs.join("initdb"));
        let flags = "-U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions -D";
        run(initdb.args(flags.split(' ')).arg(&data))?;

        let directory = self.directory.display();
        let (ssl, rule) = match fault {
            Some(Fault::NoTls) => ("off", "host all all all scram-sha-256"),
            Some(Fault::ClientCertificate) => (
                "on",
                "hostssl all all all scram-sha-256 clientcert=verify-full",
            ),
            _ => ("on", "hostssl all all all scram-sha-256"),
        };
        // By default PostgreSQL waits a second before it looks for a deadlock. fsync is off because
        // the data need not survive a power failure.
        let settings = format!(
            "listen_addresses = '127.0.0.1, ::1'
            port = {}
            unix_socket_directories = '{directory}'
            password_encryption = 'scram-sha-256'
            ssl = {ssl}
            ssl_cert_file = '{directory}/certs/node.crt'
            ssl_key_file = '{directory}/certs/node.key'
            ssl_ca_file = '{directory}/certs/ca.crt'
            deadlock_timeout = '10ms'
            fsync = off\n",
            self.port
        );
        // The socket needs no password: only the owner of its directory can reach it.
        let rules = format!("local all all trust\n{rule}\n");
        fs::write(data.join("pg_hba.conf"), rules)?;
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings)?;
        Ok(())
    }

    /// Starts the server and waits until it accepts SQL.
    pub(crate) fn start(&self) -> Result<ServerProcess> {
        let mut command = self.run_as.command(self.programs.join("postgres"));
        command.arg("-D").arg(self.directory.join("data"));
        // SIGINT requests a fast shutdown, which closes the clients' connections.
        let mut process =
            ServerProcess::start(&command, self.run_as, "INT", &self.directory, "log")?;
        process.wait_until(|| self.execute("postgres", "SELECT 1").is_ok())?;
        Ok(process)
    }

    /// Creates a user and a database that belongs to it.
    pub(crate) fn create_user(&self, user: &str, password: &str, database: &str) -> Result<()> {
        let execute = |sql: String| self.execute("postgres", &sql);
        execute(format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"))?;
        execute(format!("CREATE DATABASE {database} OWNER {user}"))?;
        Ok(())
    }

    /// Runs SQL as the superuser and returns what psql prints.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.run_as.command(self.programs.join("psql"));
        psql.args("-X -q -At -v ON_ERROR_STOP=1 -U postgres -h".split(' '))
            .arg(&self.directory)
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        run(&mut psql)
    }
}
