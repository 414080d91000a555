//! The process that `local-cluster start` leaves running: it keeps the server until it is told to stop.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use anyhow::Result;
use crdb_local_cluster::Cluster;

use crate::state::State;

/// What `local-cluster stop` says to the keeper.
pub const STOP: &[u8] = b"stop\n";

/// Starts the server, says what went wrong on standard output or closes it, and waits.
pub fn keep() -> Result<()> {
    let (cluster, listener) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => {
            println!("{error:#}");
            return Err(error);
        }
    };
    close_standard_output()?;
    for connection in listener.incoming() {
        let connection = connection?;
        let mut said = Vec::new();
        // Somebody who only looks whether we are here says nothing.
        BufReader::new(&connection).read_until(b'\n', &mut said)?;
        if said == STOP {
            drop(cluster);
            break;
        }
    }
    Ok(())
}

fn prepare() -> Result<(Cluster, UnixListener)> {
    let cluster = Cluster::start()?;
    let control = cluster.directory().join("keeper");
    let listener = UnixListener::bind(&control)?;
    State::new(cluster.url(), control).write()?;
    Ok((cluster, listener))
}

/// `start` waits for this end of its pipe.
fn close_standard_output() -> Result<()> {
    io::stdout().flush()?;
    Ok(nix::unistd::dup2_stdout(std::fs::File::create(
        "/dev/null",
    )?)?)
}
