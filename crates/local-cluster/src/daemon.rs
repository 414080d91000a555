//! The background process that `local-cluster start` leaves running. It holds the cluster until
//! `local-cluster stop` connects to its socket, and kills and restarts nodes.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crdb_local_cluster::{Cluster, Kind};
use nix::unistd::{Pid, setpgid};

use crate::files;

/// The last line that the daemon prints if the cluster has started.
pub const READY: &str = "ready";

/// Starts one node, or three. Prints what runs, or an error, and runs until it receives `stop`.
pub fn run(three_nodes: bool) -> Result<()> {
    let started = start(three_nodes).inspect_err(|error| println!("{error:#}"));
    let (cluster, listener, server) = started?;
    // Until now Ctrl-C has stopped this process too. From now on it survives the terminal.
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    println!("{READY}");
    for connection in listener.incoming().flatten() {
        let request = receive(&connection).unwrap_or_default();
        if request == "stop" {
            drop(cluster);
            let _ = (&connection).write_all(b"Stopped the local cluster.");
            break;
        }
        let answer = answer(&cluster, &server, &request);
        let answer = answer.unwrap_or_else(|error| format!("Error: {error:#}"));
        let _ = (&connection).write_all(answer.as_bytes());
    }
    Ok(())
}

/// Returns the cluster, the socket, and what runs, with the connection string.
fn start(three_nodes: bool) -> Result<(Cluster, UnixListener, String)> {
    let cluster = if three_nodes {
        Cluster::start_three_nodes()?
    } else {
        Cluster::start()?
    };
    let reason = match cluster.kind() {
        Kind::Cockroach => "",
        Kind::Postgres => {
            ", because there is no CockroachDB binary: scripts/setup --cockroach downloads one"
        }
    };
    let (version, url) = (cluster.kind().version()?, cluster.url());
    let server = format!("{version}{reason}.\nDATABASE_URL='{url}'");
    let (listener, is_written) = files::write(&cluster).with_context(|| {
        let current = env::current_dir().unwrap_or_default();
        format!(
            "cannot write .local-cluster and .env in {}",
            current.display()
        )
    })?;
    println!("Started {server}");
    if is_written {
        println!("Written to .env. Try: cargo run --example postgres-basic");
    } else {
        println!(
            "Your .env exists and was not changed. To use this cluster:\n\
             export DATABASE_URL=\"$(scripts/local-cluster url)\""
        );
    }
    Ok((cluster, listener, server))
}

/// Returns the line that a client sends, with invalid UTF-8 replaced.
fn receive(connection: &UnixStream) -> io::Result<String> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = Vec::new();
    BufReader::new(connection.take(100)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

fn answer(cluster: &Cluster, server: &str, request: &str) -> Result<String> {
    let running = format!(
        "A local cluster is already running: {server}\n\
         To start another one, stop it first: scripts/local-cluster stop"
    );
    let number = |node: &str| node.parse().context("this is not the number of a node");
    let words: Vec<&str> = request.split(' ').collect();
    match words[..] {
        ["start", ref nodes @ ..] if nodes.is_empty() || cluster.url().contains(',') => Ok(running),
        ["start", ..] => bail!(running),
        ["url"] => Ok(cluster.url()),
        ["kill", node] => {
            cluster.kill(number(node)?)?;
            Ok(format!("Node {node} was killed."))
        }
        ["restart", node] => {
            cluster.restart(number(node)?)?;
            Ok(format!("Node {node} runs again."))
        }
        _ => bail!("unknown request"),
    }
}
