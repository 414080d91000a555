//! The server that is measured: its version and, on CockroachDB, its node and cluster.

use std::fmt;

use anyhow::Result;
use postgres::Client;
use serde::Serialize;

/// The server that a connection leads to.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// The result of `SELECT version()`.
    pub version: String,
    /// The gateway node, on CockroachDB, if the user may read it.
    pub node: Option<i64>,
    /// The number of live nodes, on CockroachDB, if the user may read it.
    pub live_nodes: Option<i64>,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not return its version.
    pub fn of(client: &mut Client) -> Result<Server> {
        let version: String = client.query_one("SELECT version()", &[])?.try_get(0)?;
        let (node, live_nodes) = if version.starts_with("CockroachDB") {
            (node(client), live_nodes(client))
        } else {
            (None, None)
        };
        Ok(Server {
            version,
            node,
            live_nodes,
        })
    }
}

/// Returns the number of the node that serves this connection, or `None` if it is not known.
pub fn node(client: &mut Client) -> Option<i64> {
    number(client, "SELECT crdb_internal.node_id()::INT8")
}

/// Returns the number of live nodes in the cluster, or `None` if it is not known. Versions from 25.4 on
/// restrict `crdb_internal`, and a virtual cluster has no `gossip_nodes`.
pub fn live_nodes(client: &mut Client) -> Option<i64> {
    let sql = "SELECT count(*)::INT8 FROM crdb_internal.gossip_nodes WHERE is_live";
    number(client, sql).filter(|nodes| *nodes > 0)
}

/// Any failure means that the figure is left out of the report.
fn number(client: &mut Client, sql: &str) -> Option<i64> {
    client.query_one(sql, &[]).ok()?.try_get(0).ok()
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)?;
        if let Some(node) = self.node {
            write!(f, "; gateway node {node}")?;
        }
        match self.live_nodes {
            Some(1) => write!(f, "; a cluster of 1 live node"),
            Some(nodes) => write!(f, "; a cluster of {nodes} live nodes"),
            None => Ok(()),
        }
    }
}
