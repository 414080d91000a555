//! Network round trips, exactly, counted by a relay.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use crdb_connection::Config;
use crdb_local_cluster::Relay;

use crate::contestant::{FLOOR, contestants};
use crate::figures::RoundTrips;
use crdb_conformance::{Diesel, Driver, Postgres, SeaOrm};

/// Counts what connecting, the basic sample and transfers cost.
///
/// # Errors
///
/// Those of the driver.
pub fn count(
    name: &str,
    direct: &Config,
    relayed: &Config,
    relay: &Relay,
) -> Result<Option<RoundTrips>> {
    match name {
        Postgres::NAME => driver::<Postgres>(direct, relayed, relay).map(Some),
        Diesel::NAME => driver::<Diesel>(direct, relayed, relay).map(Some),
        SeaOrm::NAME => driver::<SeaOrm>(direct, relayed, relay).map(Some),
        FLOOR => floor(relayed, relay),
        _ => Ok(None),
    }
}

/// The floor: a transfer in one statement.
fn floor(relayed: &Config, relay: &Relay) -> Result<Option<RoundTrips>> {
    let Some(floor) = contestants(&[]).pop() else {
        return Ok(None);
    };
    let mut since = Since::now(relay);
    let mut subject = (floor.connect)(relayed)?;
    let connect = since.then();
    subject.transfer(11, 12).map_err(|error| anyhow!(error))?;
    let transfer_first = since.then();
    subject.transfer(12, 11).map_err(|error| anyhow!(error))?;
    let transfer_steady = since.then();
    Ok(Some(RoundTrips {
        connect,
        transfer_first,
        transfer_steady,
        basic: None,
        transfer_retried_once: None,
    }))
}

/// Round trips since it was asked last.
struct Since<'a> {
    relay: &'a Relay,
    mark: u64,
}

impl Since<'_> {
    fn now(relay: &Relay) -> Since<'_> {
        // Whoever was here before may still be taking leave.
        thread::sleep(Duration::from_millis(100));
        Since {
            relay,
            mark: relay.round_trips(),
        }
    }

    fn then(&mut self) -> u64 {
        // A pool takes a connection back, with a ping, after its user has gone on.
        thread::sleep(Duration::from_millis(100));
        let now = self.relay.round_trips();
        now - std::mem::replace(&mut self.mark, now)
    }
}

fn driver<D: Driver>(direct: &Config, relayed: &Config, relay: &Relay) -> Result<RoundTrips> {
    let mut since = Since::now(relay);
    let mut driver = D::connect(relayed)?;
    let connect = since.then();
    driver.basic().map_err(|error| anyhow!(error))?;
    let basic = since.then();
    driver.transfer(11, 12, 1)?;
    let transfer_first = since.then();
    driver.transfer(12, 11, 1)?;
    let transfer_steady = since.then();

    // Somebody else changes an account after we have read it, so the first run has to be given up. The
    // reading is ours, not the sample's.
    let read = "SELECT balance AS value FROM accounts WHERE id = 11";
    let mut read_once = Ok(Vec::new());
    driver.transfer_after(&mut |_, txn| read_once = txn.read(read), 11, 12, 1)?;
    read_once.map_err(|error| anyhow!(error))?;
    let mut other = crdb_postgres::connect(direct)?;
    let mut conflict = Ok(());
    since.then();
    let runs = driver.transfer_after(
        &mut |run, txn| {
            if run == 1 {
                let read = txn.read(read);
                // On a thread of its own: SeaORM's runtime does not let another driver wait on this one.
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
    let with_reading = since.then();
    conflict.map_err(|error| anyhow!(error))?;
    driver.transfer(12, 11, 1)?;
    if runs != 2 {
        bail!("the transfer ran {runs} times, and should have been retried once");
    }
    Ok(RoundTrips {
        connect,
        basic: Some(basic),
        transfer_first,
        transfer_steady,
        transfer_retried_once: Some(with_reading - 1),
    })
}
