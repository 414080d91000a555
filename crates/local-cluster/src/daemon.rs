//! The background process that `local-cluster start` leaves running. It holds the cluster until
//! `local-cluster stop` connects to its socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use anyhow::Result;
use crdb_local_cluster::Cluster;

use crate::state::State;

/// The message that `local-cluster stop` sends to the daemon.
pub const STOP: &[u8] = b"stop\n";

/// Starts the cluster and runs until it receives [`STOP`]. Closes standard output when the cluster
/// is ready, or prints an error there if the cluster does not start.
pub fn run() -> Result<()> {
    let (cluster, listener) = match start() {
        Ok(started) => started,
        Err(error) => {
            println!("{error:#}");
            return Err(error);
        }
    };
    close_standard_output()?;
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
    State::new(cluster.url(), socket).write()?;
    Ok((cluster, listener))
}

fn close_standard_output() -> Result<()> {
    io::stdout().flush()?;
    Ok(nix::unistd::dup2_stdout(std::fs::File::create(
        "/dev/null",
    )?)?)
}
