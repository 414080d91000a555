//! Network round trips, counted by a relay in front of the server.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::Relay;

use crate::contestant::Contestant;
use crate::figures::RoundTrips;
use crate::url;

/// A relay in front of a server on this machine.
pub struct Relayed {
    /// Connects through the relay.
    pub url: DatabaseUrl,
    pub relay: Relay,
}

impl Relayed {
    /// Starts a relay in front of the server. Returns `None` if the server is not on this machine,
    /// where the network's own delay would add to the relay's.
    pub fn start(direct: &DatabaseUrl) -> Result<Option<Relayed>> {
        let Some(port) = url::local_port(direct) else {
            return Ok(None);
        };
        let relay = Relay::start(port)?;
        Ok(Some(Relayed {
            url: url::with_port(direct, relay.port())?,
            relay,
        }))
    }
}

/// Counts the round trips of connecting and of two transfers.
pub fn count(relayed: &Relayed, contestant: &Contestant) -> Result<RoundTrips> {
    let mut counter = Counter::start(&relayed.relay);
    let mut connection = (contestant.connect)(&relayed.url)?;
    let connect = counter.count();
    connection.transfer(11, 12)?;
    let transfer_first = counter.count();
    connection.transfer(12, 11)?;
    Ok(RoundTrips {
        connect: Some(connect),
        transfer_first: Some(transfer_first),
        transfer_steady: counter.count(),
    })
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
