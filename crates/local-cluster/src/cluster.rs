//! A throwaway cluster: CockroachDB or PostgreSQL, in a directory of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use crate::binaries;
use crate::certificates::{Authority, Validity};
use crate::cockroach::Cockroach;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::postgres::Postgres;
use crate::process::ServerProcess;
use crate::relay::Relay;

/// A running server with its own port, directory, certificates and user.
///
/// When the value is dropped, or when the program is killed, the server stops and the directory is
/// removed.
pub struct Cluster {
    process: Mutex<ServerProcess>,
    server: Server,
    fault: Option<Fault>,
    port: u16,
    password: String,
    directory: TempDir,
}

enum Server {
    Cockroach(Cockroach),
    Postgres(Postgres),
}

/// The user that [`Cluster::start`] creates. It owns the database; on CockroachDB it is an admin.
const USER: &str = "demo";
const DATABASE: &str = "defaultdb";

impl Cluster {
    /// Starts CockroachDB if `$COCKROACH` or `PATH` has a binary, else PostgreSQL, and waits until
    /// the server accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if neither is installed or the server does not start.
    pub fn start() -> Result<Cluster> {
        let kind = if binaries::cockroach()?.is_some() {
            Kind::Cockroach
        } else {
            Kind::Postgres
        };
        Cluster::start_as(kind)
    }

    /// Starts a server of this kind. It accepts only TLS connections; its certificate is for
    /// `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    ///
    /// Returns an error if this kind is not installed or the server does not start.
    pub fn start_as(kind: Kind) -> Result<Cluster> {
        Cluster::start_configured(kind, None)
    }

    /// Starts PostgreSQL with a fault. CockroachDB cannot be started with one.
    ///
    /// # Errors
    ///
    /// Returns an error if PostgreSQL is not installed or does not start.
    pub fn start_with_fault(fault: Fault) -> Result<Cluster> {
        Cluster::start_configured(Kind::Postgres, Some(fault))
    }

    fn start_configured(kind: Kind, fault: Option<Fault>) -> Result<Cluster> {
        let directory = tempfile::Builder::new()
            .prefix("crdb-local-cluster-")
            .tempdir()?;
        write_certificates(directory.path(), fault)?;
        let port = free_port()?;
        let password = random_password()?;
        let (server, process) = match kind {
            Kind::Cockroach => {
                let cockroach = Cockroach::new(directory.path(), port)?;
                let process = cockroach.start()?;
                cockroach.create_user(USER, &password)?;
                (Server::Cockroach(cockroach), process)
            }
            Kind::Postgres => {
                let postgres = Postgres::new(directory.path(), port, fault)?;
                let process = postgres.start()?;
                postgres.create_user(USER, &password, DATABASE)?;
                (Server::Postgres(postgres), process)
            }
        };
        Ok(Cluster {
            process: Mutex::new(process),
            server,
            fault,
            port,
            password,
            directory,
        })
    }

    /// Returns the connection string, which begins `postgresql://demo:…@localhost:PORT/defaultdb`.
    pub fn url(&self) -> String {
        self.url_with(USER, &self.password)
    }

    /// Returns the connection string with the port of a relay in front of this server.
    pub fn url_through(&self, relay: &Relay) -> String {
        let [direct, relayed] = [self.port, relay.port()].map(|port| format!("@localhost:{port}/"));
        self.url().replace(&direct, &relayed)
    }

    /// Returns the connection string for another user.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        let encode = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
        let tls = if self.fault == Some(Fault::NoTls) {
            "sslmode=disable".to_owned()
        } else {
            let root = self.root_certificate().display().to_string();
            format!(
                "sslmode=verify-full&sslrootcert={}",
                root.replace('%', "%25")
            )
        };
        format!(
            "postgresql://{}:{}@localhost:{}/{DATABASE}?{tls}",
            encode(user),
            encode(password),
            self.port
        )
    }

    /// Returns the server's port on `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the kind of the server.
    pub fn kind(&self) -> Kind {
        match self.server {
            Server::Cockroach(_) => Kind::Cockroach,
            Server::Postgres(_) => Kind::Postgres,
        }
    }

    /// Returns the user in [`Cluster::url`].
    pub fn user(&self) -> &str {
        USER
    }

    /// Returns the password in [`Cluster::url`].
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns the server's process id. While the server is stopped, it is the id it had before.
    pub fn pid(&self) -> i32 {
        self.lock_process().pid
    }

    /// Returns the directory with the server's data, log and certificates.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of the root certificate, for `sslrootcert`.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.path().join("certs/ca.crt")
    }

    /// Returns the paths of a client certificate for the user in [`Cluster::url`] and of its key,
    /// for `sslcert` and `sslkey`.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let file = self.directory.path().join(format!("client/client.{USER}"));
        (
            file.with_added_extension("crt"),
            file.with_added_extension("key"),
        )
    }

    /// Runs SQL as the server's superuser in the database of [`Cluster::url`], and returns the rows
    /// as text.
    ///
    /// # Errors
    ///
    /// Returns an error if the server is stopped or rejects the SQL.
    pub fn execute(&self, sql: &str) -> Result<String> {
        self.execute_in(DATABASE, sql)
    }

    /// Runs SQL like [`Cluster::execute`], in another database.
    ///
    /// # Errors
    ///
    /// Returns an error if the server is stopped or rejects the SQL.
    pub fn execute_in(&self, database: &str, sql: &str) -> Result<String> {
        match &self.server {
            Server::Cockroach(cockroach) => cockroach.execute(database, sql),
            Server::Postgres(postgres) => postgres.execute(database, sql),
        }
    }

    /// Stops the server and waits until it has ended. Its connections are closed; its files stay,
    /// and [`Cluster::restart`] starts it again.
    ///
    /// Stopping a stopped server does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be told to stop.
    pub fn stop(&self) -> Result<()> {
        self.lock_process().stop()
    }

    /// Stops the server, if it runs, and starts it again on the same port with the same data.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not start again.
    pub fn restart(&self) -> Result<()> {
        let mut process = self.lock_process();
        process.stop()?;
        *process = match &self.server {
            Server::Cockroach(cockroach) => cockroach.start()?,
            Server::Postgres(postgres) => postgres.start()?,
        };
        Ok(())
    }

    fn lock_process(&self) -> MutexGuard<'_, ServerProcess> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_certificates(directory: &Path, fault: Option<Fault>) -> Result<()> {
    let (certs, client) = (directory.join("certs"), directory.join("client"));
    std::fs::create_dir(&certs)?;
    std::fs::create_dir(&client)?;
    let authority = Authority::new("local-cluster")?;
    authority.write(&certs.join("ca.crt"))?;
    let validity = match fault {
        Some(Fault::Expired) => Validity::Expired,
        _ => Validity::Now,
    };
    let names: &[&str] = match fault {
        Some(Fault::OtherName) => &["elsewhere.example"],
        _ => &["localhost", "127.0.0.1", "::1"],
    };
    let issuer = match fault {
        Some(Fault::UnknownAuthority) => &Authority::new("unknown-authority")?,
        _ => &authority,
    };
    // CockroachDB requires these file names and the common names "node" and "root".
    issuer.issue(&certs.join("node"), "node", names, validity)?;
    authority.issue(&certs.join("client.root"), "root", &[], Validity::Now)?;
    authority.issue(
        &client.join(format!("client.{USER}")),
        USER,
        &[],
        Validity::Now,
    )
}

/// Returns a port that no process listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 12];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
