//! A throwaway cluster: CockroachDB or PostgreSQL, in a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::binaries;
use crate::certificates::Authority;
use crate::cockroach::Cockroach;
use crate::directory::Directory;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::postgres::Postgres;
use crate::process::ServerProcess;
use crate::relay::Relay;
use crate::run::RunAs;

/// A running server, or three nodes of CockroachDB, with ports, a directory, certificates and a user
/// of their own.
///
/// When the value is dropped, or when the program is killed, all servers stop and the directory is
/// removed.
pub struct Cluster {
    /// One for each node. They are dropped before `server`, which has their directory.
    processes: Mutex<Vec<ServerProcess>>,
    server: Server,
    fault: Option<Fault>,
    ports: Vec<u16>,
    password: String,
}

enum Server {
    Cockroach(Cockroach),
    Postgres(Postgres),
}

/// The user that [`Cluster::start`] creates. It owns the database and can create others; on
/// CockroachDB it is an admin.
const USER: &str = "demo";
const DATABASE: &str = "defaultdb";

/// What is encoded in a connection string: all but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// In a path, also `/` stays.
const IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

impl Cluster {
    /// Starts CockroachDB if there is a binary, else PostgreSQL, and waits until the server accepts
    /// connections. The binary is the one that `$COCKROACH` names, else the one on `PATH`, else the
    /// one that `scripts/setup --cockroach` has downloaded.
    ///
    /// # Errors
    ///
    /// Returns an error if neither is installed or the server does not start.
    pub fn start() -> Result<Cluster> {
        let cockroach = binaries::cockroach()?.map(|_| Kind::Cockroach);
        Cluster::start_as(cockroach.unwrap_or(Kind::Postgres))
    }

    /// Starts a server of this kind. It accepts [`Cluster::user`] only with TLS; its certificate is for
    /// `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    ///
    /// Returns an error if this kind is not installed or the server does not start.
    pub fn start_as(kind: Kind) -> Result<Cluster> {
        Cluster::start_configured(kind, None, 1)
    }

    /// Starts a CockroachDB cluster of 1 or 3 nodes. With 3, waits until the cluster survives the
    /// loss of a node: until all ranges have three replicas, which takes about 40 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no CockroachDB binary, if a node does not start, or for another
    /// number of nodes.
    pub fn start_nodes(nodes: usize) -> Result<Cluster> {
        if nodes != 1 && nodes != 3 {
            bail!("a cluster has 1 or 3 nodes here, not {nodes}: 3 are enough to lose one");
        }
        Cluster::start_configured(Kind::Cockroach, None, nodes)
    }

    /// Starts PostgreSQL with a fault. CockroachDB cannot be started with one.
    ///
    /// # Errors
    ///
    /// Returns an error if PostgreSQL is not installed or does not start.
    pub fn start_with_fault(fault: Fault) -> Result<Cluster> {
        Cluster::start_configured(Kind::Postgres, Some(fault), 1)
    }

    fn start_configured(kind: Kind, fault: Option<Fault>, nodes: usize) -> Result<Cluster> {
        let (run_as, quit_signal) = match kind {
            // The runtime of Go ends a program at this signal.
            Kind::Cockroach => (RunAs(None), "ABRT"),
            // After SIGKILL, the shared memory of PostgreSQL would stay.
            Kind::Postgres => (RunAs::for_postgres()?, "QUIT"),
        };
        let directory = Directory::create(run_as, quit_signal)?;
        write_certificates(directory.path(), fault)?;
        let ports = free_ports(nodes)?;
        let password = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        fs::write(directory.path().join("password"), &password)?;
        let (server, processes) = match kind {
            Kind::Cockroach => {
                let cockroach = Cockroach::new(directory, &ports)?;
                let processes = cockroach.start()?;
                cockroach.create_user(USER, &password)?;
                cockroach.wait_until_replicated()?;
                (Server::Cockroach(cockroach), processes)
            }
            Kind::Postgres => {
                let postgres = Postgres::new(directory, ports[0], &password, fault)?;
                let process = postgres.start()?;
                postgres.create_user(USER, DATABASE)?;
                (Server::Postgres(postgres), vec![process])
            }
        };
        Ok(Cluster {
            processes: Mutex::new(processes),
            server,
            fault,
            ports,
            password,
        })
    }

    /// Returns the connection string, which begins `postgresql://demo:…@localhost:PORT/defaultdb`. It
    /// names every node as a host.
    pub fn url(&self) -> String {
        self.url_with(USER, &self.password)
    }

    /// Returns the connection string for another database, which the user can create with
    /// `CREATE DATABASE`.
    pub fn url_of(&self, database: &str) -> String {
        self.render(USER, &self.password, &self.ports, database)
    }

    /// Returns the connection string with the port of a relay in front of this server.
    pub fn url_through(&self, relay: &Relay) -> String {
        self.render(USER, &self.password, &[relay.port()], DATABASE)
    }

    /// Returns the connection string for another user.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        self.render(user, password, &self.ports, DATABASE)
    }

    fn render(&self, user: &str, password: &str, ports: &[u16], database: &str) -> String {
        let encode = |part: &[u8]| percent_encode(part, ENCODED).to_string();
        let tls = if self.fault == Some(Fault::NoTls) {
            "sslmode=disable".to_owned()
        } else {
            let root = self.root_certificate();
            let root = percent_encode(root.as_os_str().as_bytes(), IN_PATH);
            format!("sslmode=verify-full&sslrootcert={root}")
        };
        let hosts: Vec<String> = ports.iter().map(|p| format!("localhost:{p}")).collect();
        format!(
            "postgresql://{}:{}@{}/{}?{tls}",
            encode(user.as_bytes()),
            encode(password.as_bytes()),
            hosts.join(","),
            encode(database.as_bytes())
        )
    }

    /// Returns the port on `localhost` of the server, or of node 1.
    pub fn port(&self) -> u16 {
        self.ports[0]
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

    /// Returns the directory with the server's data, log and certificates.
    pub fn directory(&self) -> &Path {
        match &self.server {
            Server::Cockroach(cockroach) => cockroach.directory.path(),
            Server::Postgres(postgres) => postgres.directory.path(),
        }
    }

    /// Returns the path of the root certificate, for `sslrootcert`.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory().join("certs/ca.crt")
    }

    /// Returns the paths of a client certificate for the user in [`Cluster::url`] and of its key,
    /// for `sslcert` and `sslkey`.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let file = self.directory().join(format!("client/client.{USER}"));
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
    /// Returns an error if no server runs or the server rejects the SQL.
    pub fn execute(&self, sql: &str) -> Result<String> {
        self.execute_in(DATABASE, sql)
    }

    /// Runs SQL like [`Cluster::execute`], in another database.
    ///
    /// # Errors
    ///
    /// Returns an error if no server runs or the server rejects the SQL.
    pub fn execute_in(&self, database: &str, sql: &str) -> Result<String> {
        match &self.server {
            Server::Cockroach(cockroach) => cockroach.execute(self.running_node(), database, sql),
            Server::Postgres(postgres) => postgres.execute(database, sql),
        }
    }

    /// Stops the server, or all nodes, and waits until they have ended. Their connections are closed;
    /// their files stay, and [`Cluster::restart`] starts them again.
    ///
    /// Stopping a stopped server does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be told to stop.
    pub fn stop(&self) -> Result<()> {
        let mut processes = self.lock_processes();
        processes.iter_mut().try_for_each(ServerProcess::stop)
    }

    /// Stops the server, or all nodes, if they run, and starts them again on the same ports with the
    /// same data.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not start again.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        *self.lock_processes() = match &self.server {
            Server::Cockroach(cockroach) => cockroach.start()?,
            Server::Postgres(postgres) => vec![postgres.start()?],
        };
        Ok(())
    }

    /// Kills a node of CockroachDB with SIGKILL and waits until it has ended. The first node is
    /// node 1.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such node.
    pub fn kill(&self, node: usize) -> Result<()> {
        self.node(node)?;
        self.lock_processes()[node - 1].kill()
    }

    /// Kills a node of CockroachDB, if it runs, and starts it again on the same port with the same
    /// data. If all 3 nodes run, waits until the cluster survives the loss of a node again.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such node, or it does not start again.
    pub fn restart_node(&self, node: usize) -> Result<()> {
        let cockroach = self.node(node)?;
        self.kill(node)?;
        let process = cockroach.start_node(node - 1)?;
        let mut processes = self.lock_processes();
        processes[node - 1] = process;
        if processes.iter_mut().all(ServerProcess::is_running) {
            drop(processes);
            cockroach.wait_until_replicated()?;
        }
        Ok(())
    }

    /// Returns the cluster of a node that exists.
    fn node(&self, node: usize) -> Result<&Cockroach> {
        let last = self.ports.len();
        match &self.server {
            Server::Postgres(_) => bail!("PostgreSQL has no nodes: this needs CockroachDB"),
            Server::Cockroach(_) if node < 1 || node > last => {
                bail!("there is no node {node}: the last node is {last}")
            }
            Server::Cockroach(cockroach) => Ok(cockroach),
        }
    }

    /// Returns the index of a node that has not been stopped; 0 if there is none.
    fn running_node(&self) -> usize {
        let mut processes = self.lock_processes();
        let running = processes.iter_mut().position(ServerProcess::is_running);
        running.unwrap_or(0)
    }

    fn lock_processes(&self) -> MutexGuard<'_, Vec<ServerProcess>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_certificates(directory: &Path, fault: Option<Fault>) -> Result<()> {
    let (certs, client) = (directory.join("certs"), directory.join("client"));
    fs::create_dir(&certs)?;
    fs::create_dir(&client)?;
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
    authority.issue(&client.join(format!("client.{USER}")), USER, &[], false)
}

/// Returns ports that no process listens on.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are bound at the same time, so they differ.
    let bind = |_| TcpListener::bind(("127.0.0.1", 0));
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    listeners.iter().map(port).collect()
}
