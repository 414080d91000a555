//! A throwaway cluster: CockroachDB or PostgreSQL, in a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::binaries;
use crate::certificates::Authority;
use crate::cockroach;
use crate::directory::Directory;
use crate::kind::{Fault, Kind};
use crate::postgres;
use crate::process::ServerProcess;
use crate::relay::Relay;
use crate::run::postgres_user;
use crate::server::Server;

/// A running server, or three nodes of CockroachDB, with ports, a directory, certificates and a user
/// of their own.
///
/// When the value is dropped, or when the program is killed, all servers stop and the directory is
/// removed.
///
/// # Errors
///
/// Starting returns an error if a program is missing or the server does not accept connections. Other
/// functions return an error if no server runs, it rejects the SQL, or there is no such node.
pub struct Cluster {
    /// One for each node. They are dropped before `server`, which has their directory.
    processes: Mutex<Vec<ServerProcess>>,
    server: Server,
}

/// The user that [`Cluster::start`] creates. It owns the database and can create others; on
/// CockroachDB it is an admin.
const USER: &str = "demo";
const DATABASE: &str = "defaultdb";

/// What is encoded in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

impl Cluster {
    /// Starts CockroachDB if there is a binary, else PostgreSQL, and waits until the server accepts
    /// connections.
    pub fn start() -> Result<Cluster> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Cluster::start_as(cockroach.unwrap_or(Kind::Postgres))
    }

    /// Starts a server of this kind. It accepts the user only with TLS; its certificate is for
    /// `localhost`, `127.0.0.1` and `::1`.
    pub fn start_as(kind: Kind) -> Result<Cluster> {
        Cluster::start_configured(kind, None, 1)
    }

    /// Starts three nodes of CockroachDB. Waits until the cluster survives the loss of a node: until
    /// all ranges have three replicas, which takes about 40 seconds.
    pub fn start_three_nodes() -> Result<Cluster> {
        Cluster::start_configured(Kind::Cockroach, None, 3)
    }

    /// Starts PostgreSQL with a fault. CockroachDB cannot be started with one.
    pub fn start_with_fault(fault: Fault) -> Result<Cluster> {
        Cluster::start_configured(Kind::Postgres, Some(fault), 1)
    }

    fn start_configured(kind: Kind, fault: Option<Fault>, nodes: usize) -> Result<Cluster> {
        let program = kind.program()?;
        let directory = match kind {
            // The runtime of Go ends a program at this signal.
            Kind::Cockroach => Directory::create(None, "ABRT")?,
            // After SIGKILL, the shared memory of PostgreSQL would stay.
            Kind::Postgres => Directory::create(postgres_user()?, "QUIT")?,
        };
        let server = Server {
            kind,
            program,
            directory,
            ports: free_ports(nodes)?,
            password: format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?),
            fault,
        };
        fs::write(server.directory.path.join("password"), &server.password)?;
        write_certificates(&server.directory.path, fault)?;
        let processes = match kind {
            Kind::Cockroach => cockroach::create(&server, USER)?,
            Kind::Postgres => vec![postgres::create(&server, USER, DATABASE)?],
        };
        let processes = Mutex::new(processes);
        Ok(Cluster { processes, server })
    }

    /// Returns the connection string, which begins `postgresql://demo:…@localhost:PORT/defaultdb`. It
    /// names every node as a host.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// Returns the connection string for another database, which the user can create with
    /// `CREATE DATABASE`.
    pub fn url_of(&self, database: &str) -> String {
        self.render(USER, self.password(), &self.server.ports, database)
    }

    /// Returns the connection string with the port of a relay in front of this server.
    pub fn url_through(&self, relay: &Relay) -> String {
        self.render(USER, self.password(), &[relay.port()], DATABASE)
    }

    /// Returns the connection string for another user.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        self.render(user, password, &self.server.ports, DATABASE)
    }

    fn render(&self, user: &str, password: &str, ports: &[u16], database: &str) -> String {
        let encode = |part: &str| percent_encode(part.as_bytes(), NON_ALPHANUMERIC).to_string();
        let [user, password, database] = [user, password, database].map(encode);
        let hosts: Vec<String> = ports.iter().map(|p| format!("localhost:{p}")).collect();
        let hosts = hosts.join(",");
        let url = format!("postgresql://{user}:{password}@{hosts}/{database}?sslmode=");
        if self.server.fault == Some(Fault::NoTls) {
            return url + "disable";
        }
        let root = self.root_certificate();
        let root = percent_encode(root.as_os_str().as_bytes(), IN_PATH);
        format!("{url}verify-full&sslrootcert={root}")
    }

    /// Returns the port on `localhost` of the server, or of node 1.
    pub fn port(&self) -> u16 {
        self.server.ports[0]
    }

    /// Returns the kind of the server.
    pub fn kind(&self) -> Kind {
        self.server.kind
    }

    /// Returns the password in [`Cluster::url`].
    pub fn password(&self) -> &str {
        &self.server.password
    }

    /// Returns the directory with the server's data, log and certificates. `certs/client.demo.crt` and
    /// `certs/client.demo.key` are a client certificate for the user in [`Cluster::url`].
    pub fn directory(&self) -> &Path {
        &self.server.directory.path
    }

    /// Returns the path of the root certificate, for `sslrootcert`.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory().join("certs/ca.crt")
    }

    /// Runs SQL as the server's superuser in the database of [`Cluster::url`], and returns the rows
    /// as text.
    pub fn execute(&self, sql: &str) -> Result<String> {
        self.execute_in(DATABASE, sql)
    }

    /// Runs SQL like [`Cluster::execute`], in another database.
    pub fn execute_in(&self, database: &str, sql: &str) -> Result<String> {
        match self.kind() {
            Kind::Cockroach => {
                let mut processes = self.processes.lock().unwrap();
                let running = processes.iter_mut().position(ServerProcess::is_running);
                drop(processes);
                cockroach::execute(&self.server, running.unwrap_or(0), database, sql)
            }
            Kind::Postgres => postgres::execute(&self.server, database, sql),
        }
    }

    /// Kills a node, if it runs, and waits until it has ended. The first node is node 1. CockroachDB
    /// gets SIGKILL. PostgreSQL is one node, and closes its clients' connections.
    pub fn kill(&self, node: usize) -> Result<()> {
        let last = self.server.ports.len();
        if node < 1 || node > last {
            bail!("there is no node {node}: the last node is {last}");
        }
        self.processes.lock().unwrap()[node - 1].stop()
    }

    /// Kills a node, if it runs, and starts it again on the same port with the same data. If all
    /// nodes run, waits until the cluster survives the loss of one of three again.
    pub fn restart(&self, node: usize) -> Result<()> {
        self.kill(node)?;
        let started = match self.kind() {
            Kind::Cockroach => cockroach::start(&self.server, node - 1..node)?.remove(0),
            Kind::Postgres => postgres::start(&self.server)?,
        };
        let mut processes = self.processes.lock().unwrap();
        processes[node - 1] = started;
        if processes.iter_mut().all(ServerProcess::is_running) {
            cockroach::wait_until_replicated(&self.server, &mut processes)?;
        }
        Ok(())
    }
}

fn write_certificates(directory: &Path, fault: Option<Fault>) -> Result<()> {
    let certs = directory.join("certs");
    fs::create_dir(&certs)?;
    let authority = Authority::new("local-cluster")?;
    authority.write(&certs.join("ca.crt"))?;
    let is_expired = fault == Some(Fault::Expired);
    let names: &[&str] = match fault {
        Some(Fault::OtherName) => &["elsewhere.example"],
        _ => &["localhost", "127.0.0.1", "::1"],
    };
    let issuer = match fault {
        Some(Fault::UnknownAuthority) => &Authority::new("unknown-authority")?,
        _ => &authority,
    };
    // CockroachDB requires these file names and the common names "node" and "root".
    issuer.issue(&certs.join("node"), "node", names, is_expired)?;
    authority.issue(&certs.join("client.root"), "root", &[], false)?;
    authority.issue(&certs.join(format!("client.{USER}")), USER, &[], false)
}

/// Returns ports that no process listens on.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are bound at the same time, so they differ.
    let bind = |_| TcpListener::bind(("127.0.0.1", 0));
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    listeners.iter().map(port).collect()
}
