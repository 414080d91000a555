//! Starts CockroachDB's nodes and runs SQL on them. The first node is node 0.

use std::ops::Range;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::process::ServerProcess;
use crate::run::{input, run};
use crate::server::Server;

const CERTIFICATES: &str = "--certs-dir=certs";

/// Prints `replicated` when all ranges have three replicas.
const IS_REPLICATED: &str = "SELECT CASE WHEN
    (SELECT count(*) FROM crdb_internal.gossip_nodes WHERE is_live) = 3
    AND (SELECT count(*) FROM crdb_internal.ranges_no_leases WHERE array_length(replicas, 1) < 3) = 0
    AND (SELECT sum((metrics->>'ranges.underreplicated')::FLOAT8) FROM crdb_internal.kv_store_status) = 0
    THEN 'replicated' ELSE 'not yet' END";

/// Starts these nodes and waits until they accept SQL.
pub(crate) fn start(server: &Server, nodes: Range<usize>) -> Result<Vec<ServerProcess>> {
    let processes: Result<_> = nodes
        .clone()
        .map(|node| start_process(server, node))
        .collect();
    let mut processes: Vec<ServerProcess> = processes?;
    if processes.len() > 1 {
        processes[0].wait_until(|| is_initialized(server))?;
    }
    for (node, process) in nodes.zip(&mut processes) {
        process.wait_until(|| execute(server, node, "system", "SELECT 1").is_ok())?;
    }
    Ok(processes)
}

fn start_process(server: &Server, node: usize) -> Result<ServerProcess> {
    let address = |port: &u16| format!("localhost:{port}");
    let mut command = server.directory.server(&server.program);
    if server.ports.len() == 1 {
        command.arg("start-single-node");
    } else {
        let all: Vec<String> = server.ports.iter().map(address).collect();
        let join = format!("--join={}", all.join(","));
        command.args(["start", &join, "--cache=128MiB", "--max-sql-memory=256MiB"]);
    }
    let store = format!("--store=data/{}", node + 1);
    let listen = format!("--listen-addr={}", address(&server.ports[node]));
    command.args([CERTIFICATES, &store, &listen, "--http-addr=localhost:0"]);
    let log = server.directory.path.join(format!("log{}", node + 1));
    // The data survives it. An orderly shutdown would wait for the nodes that have already stopped.
    ServerProcess::start(command, log, Signal::SIGKILL)
}

fn is_initialized(server: &Server) -> bool {
    // "cluster has already been initialized": an earlier answer was lost.
    run(&mut client(server, "init", 0))
        .map_or_else(|error| error.to_string().contains("already"), |_| true)
}

/// Waits until the loss of one of three nodes leaves a majority of every range.
pub(crate) fn wait_until_replicated(server: &Server) -> Result<()> {
    if server.ports.len() == 1 {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(300);
    // Version 26.2 refuses to read `crdb_internal` unless this variable is set; versions before
    // 25.4 do not have it.
    let allowed = format!("SET allow_unsafe_internals = on; {IS_REPLICATED}");
    loop {
        let answer = execute(server, 0, "system", &allowed);
        let answer = answer.or_else(|_| execute(server, 0, "system", IS_REPLICATED));
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
pub(crate) fn create_user(server: &Server, user: &str) -> Result<()> {
    let execute = |sql: String| execute(server, 0, "system", &sql);
    // CockroachDB 22.1 hashes passwords more often than postgres and tokio-postgres accept.
    // Older versions do not have this setting, and newer versions do not need it.
    let setting = "server.user_login.password_hashes.default_cost.scram_sha_256";
    let _ = execute(format!("SET CLUSTER SETTING {setting} = 10610"));
    let create = format!("CREATE USER {user} WITH PASSWORD '{}';", server.password);
    run(client(server, "sql", 0).stdin(input(&create)?))?;
    execute(format!("GRANT admin TO {user}"))?;
    Ok(())
}

/// Runs SQL as `root` on one node and returns what the client prints.
pub(crate) fn execute(server: &Server, node: usize, database: &str, sql: &str) -> Result<String> {
    let mut cockroach = client(server, "sql", node);
    run(cockroach.args(["--format=tsv", "-d", database, "-e", sql]))
}

/// Returns a client command for one node.
fn client(server: &Server, name: &str, node: usize) -> Command {
    let mut command = server.directory.command(&server.program);
    let host = format!("--host=localhost:{}", server.ports[node]);
    command.args([name, CERTIFICATES, &host]);
    command
}
