//! The server behind a relay, which counts round trips and adds distance.

use anyhow::Result;
use crdb_connection::Config;
use crdb_local_cluster::Relay;

/// A server on this machine, reachable directly and through a relay.
pub struct Relayed {
    /// Connects directly.
    pub direct: Config,
    /// Connects through the relay.
    pub config: Config,
    /// The relay.
    pub relay: Relay,
}

impl Relayed {
    /// Starts a relay in front of the server. Returns `None` if the server is not on this machine, where
    /// the network's own delay would add to the relay's.
    ///
    /// # Errors
    ///
    /// Returns an error if the relay cannot listen.
    pub fn start(direct: &Config) -> Result<Option<Relayed>> {
        let [host] = direct.hosts.as_slice() else {
            return Ok(None);
        };
        if !["localhost", "127.0.0.1"].contains(&host.name.as_str()) {
            return Ok(None);
        }
        let relay = Relay::start(host.port)?;
        let mut config = direct.clone();
        config.hosts[0].port = relay.port();
        Ok(Some(Relayed {
            direct: direct.clone(),
            config,
            relay,
        }))
    }
}
