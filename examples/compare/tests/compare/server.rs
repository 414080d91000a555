//! What the report says about the server.

use crdb_compare::server::{Server, live_nodes, node};
use crdb_connection::Config;
use crdb_local_cluster::{Cluster, Kind};

/// What CockroachDB has and PostgreSQL has not.
const CRDB_INTERNAL: &str = "CREATE SCHEMA crdb_internal; \
    CREATE FUNCTION crdb_internal.node_id() RETURNS INT8 LANGUAGE SQL AS 'SELECT 2::INT8'; \
    CREATE TABLE crdb_internal.gossip_nodes (node_id INT8, is_live BOOL); \
    INSERT INTO crdb_internal.gossip_nodes VALUES (1, true), (2, true), (3, true), (4, false); \
    GRANT USAGE ON SCHEMA crdb_internal TO PUBLIC; \
    GRANT SELECT ON crdb_internal.gossip_nodes TO PUBLIC";

#[test]
fn node_and_cluster_are_left_out_where_they_cannot_be_read() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let config: Config = Config::from_url(&cluster.url()).unwrap();
    let mut client = crdb_postgres::connect(&config).unwrap();
    assert_eq!((node(&mut client), live_nodes(&mut client)), (None, None));
    // The connection is still usable after the two errors.
    let server = Server::of(&mut client).unwrap();
    assert!(server.version.starts_with("PostgreSQL"), "{server}");
    assert_eq!((server.node, server.live_nodes), (None, None));

    cluster.execute(CRDB_INTERNAL).unwrap();
    assert_eq!(node(&mut client), Some(2));
    assert_eq!(live_nodes(&mut client), Some(3));
}

#[test]
fn the_server_is_described_by_what_is_known() {
    let described = |node, live_nodes| {
        let version = "CockroachDB CCL v25.2.1".to_owned();
        let server = Server {
            version,
            node,
            live_nodes,
        };
        server.to_string()
    };
    assert_eq!(described(None, None), "CockroachDB CCL v25.2.1");
    assert_eq!(
        described(Some(2), Some(3)),
        "CockroachDB CCL v25.2.1; gateway node 2; a cluster of 3 live nodes"
    );
    assert_eq!(
        described(None, Some(1)),
        "CockroachDB CCL v25.2.1; a cluster of 1 live node"
    );
}
