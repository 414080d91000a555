//! A throwaway server: CockroachDB where there is a binary, else PostgreSQL.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use crate::binaries;
use crate::certificates::{Authority, Validity};
use crate::cockroach::Cockroach;
use crate::postgres::Postgres;
use crate::supervised::Supervised;

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A single node of CockroachDB, secure.
    Cockroach,
    /// PostgreSQL, with TLS and passwords.
    Postgres,
}

impl Kind {
    /// What tests run on: PostgreSQL, and CockroachDB as well where `$COCKROACH` or `PATH` has a binary.
    ///
    /// # Errors
    ///
    /// `$COCKROACH` names something that is not there.
    pub fn to_test_on() -> Result<Vec<Kind>> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Ok([Kind::Postgres].into_iter().chain(cockroach).collect())
    }
}

/// How the server protects its connections: well, or wrong on purpose (PostgreSQL only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS only, with a certificate for `localhost`, `127.0.0.1` and `::1`.
    Good,
    /// No TLS at all.
    NoTls,
    /// As `Good`, with a certificate that expired yesterday.
    Expired,
    /// As `Good`, with a certificate for `elsewhere.example`.
    OtherName,
    /// As `Good`, with a certificate from an authority other than the one in [`Cluster::root_certificate`].
    UnknownAuthority,
    /// As `Good`; and who connects must show a certificate of their own besides the password.
    ClientCertificate,
}

/// A running server in a directory of its own. It stops, and the directory goes, when this is dropped, and
/// also when the program is killed.
pub struct Cluster {
    server: Mutex<Supervised>,
    program: Program,
    kind: Kind,
    security: Security,
    port: u16,
    password: String,
    directory: TempDir,
}

enum Program {
    Cockroach(Cockroach),
    Postgres(Postgres),
}

/// The user that [`Cluster::start`] makes; it owns the database, and on CockroachDB it is an admin.
const USER: &str = "demo";
const DATABASE: &str = "defaultdb";

impl Cluster {
    /// Starts CockroachDB where `$COCKROACH` or `PATH` has a binary, else PostgreSQL, and waits until it
    /// answers.
    ///
    /// # Errors
    ///
    /// Neither is installed, or the server does not come up.
    pub fn start() -> Result<Cluster> {
        let kind = if binaries::cockroach()?.is_some() {
            Kind::Cockroach
        } else {
            Kind::Postgres
        };
        Cluster::start_as(kind, Security::Good)
    }

    /// Starts this kind of server, protected like this.
    ///
    /// # Errors
    ///
    /// It is not installed, cannot be protected like this, or does not come up.
    pub fn start_as(kind: Kind, security: Security) -> Result<Cluster> {
        let directory = tempfile::Builder::new()
            .prefix("crdb-local-cluster-")
            .tempdir()?;
        write_certificates(directory.path(), security)?;
        let port = free_port()?;
        let password = random_password()?;
        let (program, server) = match kind {
            Kind::Cockroach => {
                let cockroach = Cockroach::find(directory.path(), port, security)?;
                let server = cockroach.start()?;
                cockroach.prepare(USER, &password)?;
                (Program::Cockroach(cockroach), server)
            }
            Kind::Postgres => {
                let postgres = Postgres::find(directory.path(), port)?;
                postgres.create_files(security)?;
                let server = postgres.start()?;
                postgres.prepare(USER, &password, DATABASE)?;
                (Program::Postgres(postgres), server)
            }
        };
        Ok(Cluster {
            server: Mutex::new(server),
            program,
            kind,
            security,
            port,
            password,
            directory,
        })
    }

    /// The connection string: `postgresql://demo:…@localhost:PORT/defaultdb?sslmode=verify-full&…`.
    pub fn url(&self) -> String {
        self.url_with(USER, &self.password)
    }

    /// The connection string for another user.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        let encode = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
        let mut url = format!(
            "postgresql://{}:{}@localhost:{}/{DATABASE}",
            encode(user),
            encode(password),
            self.port
        );
        match self.security {
            Security::NoTls => url += "?sslmode=disable",
            _ => {
                let root = self.root_certificate().to_string_lossy().into_owned();
                let _ = write!(
                    url,
                    "?sslmode=verify-full&sslrootcert={}",
                    root.replace('%', "%25")
                );
            }
        }
        url
    }

    /// The port on `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The user in [`Cluster::url`].
    pub fn user(&self) -> &str {
        USER
    }

    /// The password in [`Cluster::url`].
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's process id.
    pub fn pid(&self) -> i32 {
        self.lock_server().pid
    }

    /// The directory with the server's files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `ca.crt`, for `sslrootcert`.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.path().join("certs/ca.crt")
    }

    /// A certificate of the user in [`Cluster::url`] and its key, for `sslcert` and `sslkey`.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let file = |ending| {
            self.directory
                .path()
                .join(format!("client/client.{USER}.{ending}"))
        };
        (file("crt"), file("key"))
    }

    /// Runs SQL as the server's superuser, in the database of [`Cluster::url`].
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn execute(&self, sql: &str) -> Result<String> {
        self.execute_in(DATABASE, sql)
    }

    /// As [`Cluster::execute`], in this database.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn execute_in(&self, database: &str, sql: &str) -> Result<String> {
        match &self.program {
            Program::Cockroach(cockroach) => cockroach.execute(database, sql),
            Program::Postgres(postgres) => postgres.execute(database, sql),
        }
    }

    /// Stops the server and starts it again, on the same port with the same data.
    ///
    /// # Errors
    ///
    /// It does not come up again.
    pub fn restart(&self) -> Result<()> {
        let mut server = self.lock_server();
        server.stop_and_keep_files()?;
        *server = match &self.program {
            Program::Cockroach(cockroach) => cockroach.start()?,
            Program::Postgres(postgres) => postgres.start()?,
        };
        Ok(())
    }

    fn lock_server(&self) -> MutexGuard<'_, Supervised> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_certificates(directory: &Path, security: Security) -> Result<()> {
    let (certs, client) = (directory.join("certs"), directory.join("client"));
    std::fs::create_dir(&certs)?;
    std::fs::create_dir(&client)?;
    let authority = Authority::new("local-cluster")?;
    authority.write(&certs.join("ca.crt"))?;
    let validity = match security {
        Security::Expired => Validity::Expired,
        _ => Validity::Now,
    };
    let names: &[&str] = match security {
        Security::OtherName => &["elsewhere.example"],
        _ => &["localhost", "127.0.0.1", "::1"],
    };
    let issuer = match security {
        Security::UnknownAuthority => &Authority::new("somebody else")?,
        _ => &authority,
    };
    // CockroachDB asks for these names: of the files, and "node" and "root" of the subjects.
    issuer.issue(&certs, "node", "node", names, validity)?;
    authority.issue(&certs, "client.root", "root", &[], Validity::Now)?;
    authority.issue(&client, &format!("client.{USER}"), USER, &[], Validity::Now)
}

/// A port that nothing listens on at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 12];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
