//! Starts PostgreSQL and runs SQL on it.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::binaries;
use crate::directory::Directory;
use crate::fault::Fault;
use crate::process::ServerProcess;
use crate::run::{input, run};

/// A PostgreSQL server: its programs, its files and its port.
pub(crate) struct Postgres {
    programs: PathBuf,
    pub(crate) directory: Directory,
    port: u16,
    /// The password of the superuser and of the user that is created.
    password: String,
}

impl Postgres {
    /// Creates the data directory.
    pub(crate) fn new(
        directory: Directory,
        port: u16,
        password: &str,
        fault: Option<Fault>,
    ) -> Result<Postgres> {
        let postgres = Postgres {
            programs: binaries::postgres()?,
            directory,
            port,
            password: password.to_owned(),
        };
        postgres.create_files(fault)?;
        Ok(postgres)
    }

    fn create_files(&self, fault: Option<Fault>) -> Result<()> {
        self.directory.chown()?;
        let mut initdb = self.directory.command(self.programs.join("initdb"));
        let flags = "-U postgres --pwfile=password -A scram-sha-256 -E UTF8 --locale=C --no-sync \
                     -D data";
        run(initdb.args(flags.split_whitespace()))?;

        let (ssl, rule) = match fault {
            Some(Fault::NoTls) => ("off", "host all all all scram-sha-256"),
            Some(Fault::ClientCertificate) => (
                "on",
                "hostssl all all all scram-sha-256 clientcert=verify-full",
            ),
            _ => ("on", "hostssl all all all scram-sha-256"),
        };
        // The paths are relative to the data directory. There is no Unix-domain socket: its path can
        // be too long. By default PostgreSQL waits a second before it looks for a deadlock. fsync is
        // off because the data need not survive a power failure.
        let settings = format!(
            "listen_addresses = '127.0.0.1, ::1'
            port = {}
            unix_socket_directories = ''
            password_encryption = 'scram-sha-256'
            ssl = {ssl}
            ssl_cert_file = '../certs/node.crt'
            ssl_key_file = '../certs/node.key'
            ssl_ca_file = '../certs/ca.crt'
            deadlock_timeout = '10ms'
            fsync = off\n",
            self.port
        );
        // The superuser connects without TLS, whatever the fault.
        let rules = format!("host all postgres 127.0.0.1/32 scram-sha-256\n{rule}\n");
        let data = self.directory.path().join("data");
        fs::write(data.join("pg_hba.conf"), rules)?;
        let file = data.join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings)?;
        Ok(())
    }

    /// Starts the server and waits until it accepts SQL.
    pub(crate) fn start(&self) -> Result<ServerProcess> {
        let mut command = self.directory.server(self.programs.join("postgres"));
        command.args(["-D", "data"]);
        // SIGINT requests a fast shutdown, which closes the clients' connections.
        let mut process = ServerProcess::start(command, &self.directory, Signal::SIGINT, "log")?;
        process.wait_until(|| self.execute("postgres", "SELECT 1").is_ok())?;
        Ok(process)
    }

    /// Creates a user and a database that belongs to it.
    pub(crate) fn create_user(&self, user: &str, database: &str) -> Result<()> {
        let create = format!(
            "CREATE ROLE {user} LOGIN CREATEDB PASSWORD '{}'",
            self.password
        );
        let mut psql = self.psql("postgres");
        run(psql.stdin(input(&create)?))?;
        self.execute(
            "postgres",
            &format!("CREATE DATABASE {database} OWNER {user}"),
        )?;
        Ok(())
    }

    /// Runs SQL as the superuser and returns what psql prints.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<String> {
        run(self.psql(database).args(["-c", sql]))
    }

    fn psql(&self, database: &str) -> std::process::Command {
        let mut psql = self.directory.command(self.programs.join("psql"));
        psql.args("-X -q -At -v ON_ERROR_STOP=1 -U postgres -h 127.0.0.1".split(' '))
            .args(["-p", &self.port.to_string(), "-d", database])
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", "disable");
        psql
    }
}
