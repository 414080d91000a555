//! Starts CockroachDB's nodes and runs SQL on them. The first node is node 0.

use std::ops::Range;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;
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

/// Starts all nodes and creates an admin user.
pub(crate) fn create(server: &Server, user: &str) -> Result<Vec<ServerProcess>> {
    let mut nodes = start(server, 0..server.ports.len())?;
    // CockroachDB 22.1 hashes passwords more often than postgres and tokio-postgres accept.
    // Older versions do not have this setting, and newer versions do not need it.
    let setting = "server.user_login.password_hashes.default_cost.scram_sha_256";
    let set = format!("SET CLUSTER SETTING {setting} = 10610");
    let _ = execute(server, 0, "system", &set);
    let password = &server.password;
    let create = format!("CREATE USER {user} WITH PASSWORD '{password}'; GRANT admin TO {user};");
    run(client(server, "sql", 0).stdin(input(&create)?))?;
    wait_until_replicated(server, &mut nodes)?;
    Ok(nodes)
}

/// Starts these nodes and waits until they accept SQL.
pub(crate) fn start(server: &Server, nodes: Range<usize>) -> Result<Vec<ServerProcess>> {
    let mut processes = Vec::new();
    for node in nodes.clone() {
        processes.push(start_process(server, node)?);
    }
    if processes.len() > 1 {
        processes[0].wait_until(|| match run(&mut client(server, "init", 0)) {
            Ok(_) => true,
            // "cluster has already been initialized": an earlier answer was lost.
            Err(error) => error.to_string().contains("already"),
        })?;
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

/// Waits until the loss of one of three nodes leaves a majority of every range.
pub(crate) fn wait_until_replicated(server: &Server, nodes: &mut [ServerProcess]) -> Result<()> {
    if nodes.len() == 1 {
        return Ok(());
    }
    // Version 26.2 refuses to read `crdb_internal` unless this variable is set; versions before
    // 25.4 do not have it.
    let allowed = format!("SET allow_unsafe_internals = on; {IS_REPLICATED}");
    nodes[0].wait_until(|| {
        thread::sleep(Duration::from_secs(1));
        [allowed.as_str(), IS_REPLICATED].iter().any(|sql| {
            let answer = execute(server, 0, "system", sql);
            answer.is_ok_and(|rows| rows.ends_with("replicated"))
        })
    })
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
