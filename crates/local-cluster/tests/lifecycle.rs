//! Stops and restarts servers; no server outlives its test.

use std::net::TcpStream;
use std::panic;

use crdb_local_cluster::{Cluster, Kind};

fn accepts_connections(port: u16) -> bool {
    TcpStream::connect(("localhost", port)).is_ok()
}

#[test]
fn a_stopped_server_keeps_its_data_and_restarts_and_is_gone_when_a_test_panics() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        cluster.execute("CREATE TABLE t (i INT8)").unwrap();
        let port = cluster.port();
        for _ in 0..2 {
            cluster.stop().unwrap();
            assert!(!accepts_connections(port));
            cluster.execute("SELECT 1").unwrap_err();
        }
        for _ in 0..2 {
            cluster.restart().unwrap();
            assert_eq!(cluster.port(), port);
            cluster.execute("INSERT INTO t VALUES (1)").unwrap();
        }
        let directory = cluster.directory().to_owned();
        assert!(directory.join("data").exists());
        let panicked = panic::catch_unwind(move || {
            cluster.execute("SELECT 1").unwrap();
            panic!("the test fails");
        });
        panicked.unwrap_err();
        assert!(!accepts_connections(port));
        assert!(!directory.exists());
    }
}
