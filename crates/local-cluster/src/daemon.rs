//! The background process that `local-cluster start` leaves running. It holds the cluster until
//! `local-cluster stop` connects to its socket, and kills and restarts nodes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::Result;
use crdb_local_cluster::{Cluster, Kind};
use nix::unistd::{Pid, setpgid};

use crate::state::State;

/// The line that the daemon prints when the cluster is ready.
pub const READY: &str = "ready\n";

/// Starts the cluster and runs until it receives `stop`. Prints [`READY`], or an error if the
/// cluster does not start.
pub fn run(nodes: Option<usize>) -> Result<()> {
    let (cluster, listener) = start(nodes).inspect_err(|error| println!("{error:#}"))?;
    // Until now Ctrl-C has stopped this process too. From now on it survives the terminal.
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    print!("{READY}");
    for connection in listener.incoming().flatten() {
        // A connection that sends no data is a liveness check.
        let message = receive(&connection).unwrap_or_default();
        if message == "stop" {
            // `stop` waits until the connection is closed: stop the servers first.
            drop(cluster);
            break;
        }
        // The answer is empty or an error.
        if let Err(error) = serve(&cluster, &message) {
            let _ = write!(&connection, "{error:#}");
        }
    }
    Ok(())
}

/// Returns the line that a client sends, with invalid UTF-8 replaced.
fn receive(connection: &UnixStream) -> io::Result<String> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = Vec::new();
    BufReader::new(connection.take(100)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

fn serve(cluster: &Cluster, message: &str) -> Result<()> {
    match message.split_once(' ') {
        Some(("kill", node)) => cluster.kill(node.parse()?),
        Some(("restart", node)) => cluster.restart_node(node.parse()?),
        _ => Ok(()),
    }
}

fn start(nodes: Option<usize>) -> Result<(Cluster, UnixListener)> {
    State::prepare()?;
    let cluster = nodes.map_or_else(Cluster::start, Cluster::start_nodes)?;
    let state = State {
        url: cluster.url(),
        server: server(cluster.kind(), nodes)?,
    };
    let listener = state.write(cluster.directory())?;
    Ok((cluster, listener))
}

/// Describes what runs. Says why it is PostgreSQL.
fn server(kind: Kind, nodes: Option<usize>) -> Result<String> {
    let version = kind.version()?;
    Ok(match (kind, nodes) {
        (Kind::Cockroach, Some(nodes @ 2..)) => format!("{version}, {nodes} nodes"),
        (Kind::Cockroach, _) => version,
        (Kind::Postgres, _) => format!(
            "{version}, because there is no CockroachDB binary: scripts/setup --cockroach \
             downloads one"
        ),
    })
}
