//! The background process that `local-cluster start` leaves running. It holds the cluster until
//! `local-cluster stop` connects to its socket.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;

use anyhow::Result;
use crdb_local_cluster::Cluster;

use crate::state::State;

/// The message that `local-cluster stop` sends to the daemon.
pub const STOP: &[u8] = b"stop\n";

/// The line that the daemon prints when the cluster is ready.
pub const READY: &str = "ready\n";

/// Starts the cluster and runs until it receives [`STOP`]. Prints [`READY`], or an error if the
/// cluster does not start.
pub fn run() -> Result<()> {
    let (cluster, listener) = start().inspect_err(|error| println!("{error:#}"))?;
    print!("{READY}");
    for connection in listener.incoming() {
        let connection = connection?;
        let mut message = Vec::new();
        // A connection that sends no data is a liveness check.
        BufReader::new(&connection).read_until(b'\n', &mut message)?;
        if message == STOP {
            // `stop` waits until the connection is closed: stop the server first.
            drop(cluster);
            break;
        }
    }
    Ok(())
}

fn start() -> Result<(Cluster, UnixListener)> {
    let cluster = Cluster::start()?;
    let socket = cluster.directory().join("control");
    let listener = UnixListener::bind(&socket)?;
    let url = cluster.url();
    State { url, socket }.write()?;
    Ok((cluster, listener))
}
