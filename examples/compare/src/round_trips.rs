//! Network round trips, counted by a relay.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use crdb_conformance::Driver;
use crdb_connection::Config;
use crdb_local_cluster::Relay;

use crate::figures::RoundTrips;
use crate::relayed::Relayed;
use crate::transfer::Transfer;

/// Counts the round trips of connecting and of two transfers.
///
/// # Errors
///
/// Returns an error if the connection or a transfer fails.
pub fn of_transfer<T: Transfer>(
    relayed: &Relayed,
    connect: impl FnOnce(&Config) -> Result<T>,
) -> Result<RoundTrips> {
    let mut counter = Counter::start(&relayed.relay);
    let mut connection = connect(&relayed.config)?;
    let connect = counter.count();
    connection.transfer(11, 12)?;
    let transfer_first = counter.count();
    connection.transfer(12, 11)?;
    Ok(RoundTrips {
        connect: Some(connect),
        transfer_first: Some(transfer_first),
        transfer_steady: counter.count(),
        transfer_retried_once: None,
    })
}

/// Counts the round trips of a driver: connecting, transfers, and a transfer with one retry.
///
/// # Errors
///
/// Returns an error if the connection, a statement or a transfer fails.
pub fn of_driver<D: Driver>(relayed: &Relayed) -> Result<RoundTrips> {
    let mut counter = Counter::start(&relayed.relay);
    let mut driver = D::connect(&relayed.config)?;
    let connect = counter.count();
    driver.transfer(11, 12, 1)?;
    let transfer_first = counter.count();
    driver.transfer(12, 11, 1)?;
    let transfer_steady = counter.count();
    let transfer_retried_once = retried_once(&mut driver, relayed, &mut counter)?;
    Ok(RoundTrips {
        connect: Some(connect),
        transfer_first: Some(transfer_first),
        transfer_steady,
        transfer_retried_once: Some(transfer_retried_once),
    })
}

/// Lets a transfer read an account, changes the account on another connection, and counts until the
/// transfer has committed in its second run.
fn retried_once<D: Driver>(
    driver: &mut D,
    relayed: &Relayed,
    counter: &mut Counter<'_>,
) -> Result<u64> {
    let read = "SELECT balance AS value FROM accounts WHERE id = 11";
    // The first use of a statement may cost a round trip more (statement caches).
    let mut read_once = Ok(Vec::new());
    driver.transfer_after(&mut |_, txn| read_once = txn.read(read), 11, 12, 1)?;
    read_once.map_err(|error| anyhow!(error))?;
    let mut other = crdb_postgres::connect(&relayed.direct)?;
    let mut conflict = Ok(());
    counter.count();
    let runs = driver.transfer_after(
        &mut |run, txn| {
            if run == 1 {
                let read = txn.read(read);
                // On its own thread: within SeaORM's runtime the other driver could not block.
                let sql = "UPDATE accounts SET balance = balance WHERE id = 11";
                let write = thread::scope(|scope| scope.spawn(|| other.batch_execute(sql)).join());
                let write = write.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                conflict = read.map(drop).and_then(|()| write.map_err(Into::into));
            }
        },
        11,
        12,
        1,
    )?;
    let count = counter.count();
    conflict.map_err(|error| anyhow!(error))?;
    driver.transfer(12, 11, 1)?;
    if runs != 2 {
        bail!("the transfer ran {runs} times instead of twice");
    }
    // The reading before the transfer is not the sample's.
    Ok(count - 1)
}

/// Counts round trips from one call of [`Counter::count`] to the next.
pub struct Counter<'a> {
    relay: &'a Relay,
    mark: u64,
}

impl Counter<'_> {
    /// Starts to count.
    ///
    /// The relay delays what passes: at a distance, the server does not answer the first of two
    /// statements that are sent together before the second has left the client.
    pub fn start(relay: &Relay) -> Counter<'_> {
        relay.set_delay(Duration::from_millis(5));
        let mut counter = Counter { relay, mark: 0 };
        counter.count();
        counter
    }

    /// Waits until the wire is quiet and returns the round trips since the last call.
    pub fn count(&mut self) -> u64 {
        // A connection may still be closing, and a pool pings a returned connection in the
        // background.
        let mut now = self.relay.round_trips();
        loop {
            thread::sleep(Duration::from_millis(100));
            let before = std::mem::replace(&mut now, self.relay.round_trips());
            if now == before {
                return now - std::mem::replace(&mut self.mark, now);
            }
        }
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.relay.set_delay(Duration::ZERO);
    }
}
