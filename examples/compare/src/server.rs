//! The server that is measured: its version and, on CockroachDB, its node and cluster.

use postgres::{Client, Error};
use serde::{Deserialize, Serialize};

/// The server that a connection leads to.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Server {
    pub version: String,
    /// Today, by the server's clock.
    pub date: String,
    /// The number of the gateway node, on CockroachDB.
    pub node: Option<i64>,
    /// The number of live nodes, on CockroachDB.
    pub live_nodes: Option<i64>,
}

impl Server {
    pub fn of(client: &mut Client) -> Result<Server, Error> {
        let row = client.query_one("SELECT version(), current_date::TEXT", &[])?;
        let (version, date) = (row.try_get(0)?, row.try_get(1)?);
        // From 25.4 on, `crdb_internal` is restricted. A virtual cluster has no `gossip_nodes`.
        let mut number = |sql| -> Option<i64> { client.query_one(sql, &[]).ok()?.try_get(0).ok() };
        let node = number("SELECT crdb_internal.node_id()::INT8");
        let live = number("SELECT count(*)::INT8 FROM crdb_internal.gossip_nodes WHERE is_live");
        Ok(Server {
            version,
            date,
            node,
            live_nodes: live.filter(|nodes| *nodes > 0),
        })
    }

    /// Returns the product and its version, without the platform.
    pub fn name(&self) -> &str {
        let end = self.version.find(" (").unwrap_or(self.version.len());
        &self.version[..end]
    }

    pub fn is_cockroachdb(&self) -> bool {
        self.version.starts_with("CockroachDB")
    }
}
