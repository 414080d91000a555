//! Network round trips, counted by a relay in front of the server.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use crdb_conformance::Threads;
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::Relay;

use crate::contestant::Contestant;
use crate::slot::Slot;

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
        let hosts = direct.get("host");
        let Some((name @ ("localhost" | "127.0.0.1"), port)) = hosts.split_once(':') else {
            return Ok(None);
        };
        let relay = Relay::start(port.parse()?)?;
        let url = direct.with("host", &format!("{name}:{}", relay.port()))?;
        Ok(Some(Relayed { url, relay }))
    }

    /// Returns what `action` returns, and its number of round trips.
    pub fn count<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
        // At a distance, the server does not answer the first of two statements that are sent
        // together before the second has left the client.
        self.relay.set_delay(Duration::from_millis(5));
        let before = self.quiet();
        let result = action();
        let count = self.quiet() - before;
        self.relay.set_delay(Duration::ZERO);
        Ok((result?, count))
    }

    /// Waits until nothing passes, and returns the round trips so far. A connection may still be
    /// closing, and a pool pings a returned connection in the background.
    fn quiet(&self) -> u64 {
        let mut before = self.relay.round_trips();
        loop {
            thread::sleep(Duration::from_millis(100));
            let now = self.relay.round_trips();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

/// Counts the round trips of connecting and of two transfers. The runtime has several threads, so
/// that a pool's work after a transfer is done at once.
pub fn count(relayed: &Relayed, contestant: &Contestant) -> Result<[(&'static str, u64); 3]> {
    let connect = || (contestant.connect)(Threads::EachCore, &relayed.url);
    let (mut connection, connect) = relayed.count(connect)?;
    let mut transfer =
        |accounts| relayed.count(|| connection.transfers(accounts, Slot::begin(Duration::MAX, 1)));
    let (first, further) = (transfer([11, 12])?.1, transfer([12, 11])?.1);
    Ok([("connect", connect), ("first", first), ("further", further)])
}
