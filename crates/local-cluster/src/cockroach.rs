//! Starts CockroachDB's nodes and runs SQL on them.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::binaries;
use crate::directory::Directory;
use crate::process::ServerProcess;
use crate::run::{input, run};

/// A CockroachDB cluster: its binary, its files and the port of each node.
pub(crate) struct Cockroach {
    binary: PathBuf,
    pub(crate) directory: Directory,
    ports: Vec<u16>,
}

const CERTIFICATES: &str = "--certs-dir=certs";

/// Prints `replicated` when all ranges have three replicas.
const IS_REPLICATED: &str = "SELECT CASE WHEN
    (SELECT count(*) FROM crdb_internal.gossip_nodes WHERE is_live) = 3
    AND (SELECT count(*) FROM crdb_internal.ranges_no_leases WHERE array_length(replicas, 1) < 3) = 0
    AND (SELECT sum((metrics->>'ranges.underreplicated')::FLOAT8) FROM crdb_internal.kv_store_status) = 0
    THEN 'replicated' ELSE 'not yet' END";

impl Cockroach {
    pub(crate) fn new(directory: Directory, ports: &[u16]) -> Result<Cockroach> {
        let binary = binaries::cockroach()?.context(
            "no cockroach binary found: scripts/setup --cockroach downloads one, or set COCKROACH \
             to the path of one",
        )?;
        Ok(Cockroach {
            binary,
            directory,
            ports: ports.to_vec(),
        })
    }

    /// Starts all nodes and waits until they accept SQL.
    pub(crate) fn start(&self) -> Result<Vec<ServerProcess>> {
        let nodes = 0..self.ports.len();
        let processes: Result<_> = nodes.map(|node| self.start_process(node)).collect();
        let mut processes: Vec<ServerProcess> = processes?;
        if processes.len() > 1 {
            processes[0].wait_until(|| self.is_initialized())?;
        }
        for (node, process) in processes.iter_mut().enumerate() {
            process.wait_until(|| self.accepts_sql(node))?;
        }
        Ok(processes)
    }

    /// Starts one node and waits until it accepts SQL. The first node is node 0.
    pub(crate) fn start_node(&self, node: usize) -> Result<ServerProcess> {
        let mut process = self.start_process(node)?;
        process.wait_until(|| self.accepts_sql(node))?;
        Ok(process)
    }

    fn start_process(&self, node: usize) -> Result<ServerProcess> {
        let address = |port: &u16| format!("localhost:{port}");
        let listen = address(&self.ports[node]);
        let mut command = self.directory.server(&self.binary);
        let (signal, log) = if self.ports.len() == 1 {
            command.args(["start-single-node", "--store=data"]);
            (Signal::SIGTERM, "log".to_owned())
        } else {
            let all: Vec<String> = self.ports.iter().map(address).collect();
            command.arg("start").args([
                format!("--store=data/{}", node + 1),
                format!("--advertise-addr={listen}"),
                format!("--join={}", all.join(",")),
                "--cache=128MiB".to_owned(),
                "--max-sql-memory=256MiB".to_owned(),
            ]);
            // An orderly shutdown would wait for the nodes that have already stopped.
            (Signal::SIGKILL, format!("log{}", node + 1))
        };
        command.args([
            CERTIFICATES,
            &format!("--listen-addr={listen}"),
            "--http-addr=localhost:0",
        ]);
        ServerProcess::start(command, &self.directory, signal, &log)
    }

    fn is_initialized(&self) -> bool {
        let mut init = self.command("init", 0);
        // "cluster has already been initialized": an earlier answer was lost.
        run(&mut init).map_or_else(|error| error.to_string().contains("already"), |_| true)
    }

    fn accepts_sql(&self, node: usize) -> bool {
        self.execute(node, "system", "SELECT 1").is_ok()
    }

    /// Waits until the loss of one of three nodes leaves a majority of every range.
    pub(crate) fn wait_until_replicated(&self) -> Result<()> {
        if self.ports.len() == 1 {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(300);
        // Version 26.2 refuses to read `crdb_internal` unless this variable is set; versions before
        // 25.4 do not have it.
        let allowed = format!("SET allow_unsafe_internals = on; {IS_REPLICATED}");
        loop {
            let answer = self.execute(0, "system", &allowed);
            let answer = answer.or_else(|_| self.execute(0, "system", IS_REPLICATED));
            if matches!(&answer, Ok(rows) if rows.ends_with("replicated")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("after 5 minutes not all ranges have three replicas: {answer:?}");
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Creates an admin user.
    pub(crate) fn create_user(&self, user: &str, password: &str) -> Result<()> {
        let execute = |sql: String| self.execute(0, "system", &sql);
        // CockroachDB 22.1 hashes passwords more often than postgres and tokio-postgres accept.
        // Older versions do not have this setting, and newer versions do not need it.
        let setting = "server.user_login.password_hashes.default_cost.scram_sha_256";
        let _ = execute(format!("SET CLUSTER SETTING {setting} = 10610"));
        let create = format!("CREATE USER {user} WITH PASSWORD '{password}';");
        run(self.command("sql", 0).stdin(input(&create)?))?;
        execute(format!("GRANT admin TO {user}"))?;
        Ok(())
    }

    /// Runs SQL as `root` on one node and returns what the client prints.
    pub(crate) fn execute(&self, node: usize, database: &str, sql: &str) -> Result<String> {
        let mut cockroach = self.command("sql", node);
        run(cockroach.args(["--format=tsv", "-d", database, "-e", sql]))
    }

    /// Returns a client command for one node.
    fn command(&self, name: &str, node: usize) -> Command {
        let mut command = self.directory.command(&self.binary);
        let host = format!("--host=localhost:{}", self.ports[node]);
        command.args([name, CERTIFICATES, &host]);
        command
    }
}
