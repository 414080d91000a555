//! Workers transfer while a node of CockroachDB is killed, and started again. They continue on the
//! other nodes, and every outcome that they report is correct.

use std::sync::{LazyLock, Mutex, PoisonError};

use crdb_conformance::Driver;
use crdb_local_cluster::Cluster;

use crate::test_database::{TestDatabase, connect, for_each_driver, read};
use crate::workers::{TRANSFERS, assert_few_lost, transfer_during, wait_for};

for_each_driver!(
    #[ignore = "needs CockroachDB"]
    workers_continue_when_a_node_is_killed,
);

/// A driver that takes one host connects to the second node, and another node is killed.
fn workers_continue_when_a_node_is_killed<D: Driver>() {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start_three_nodes().unwrap());
    // One node is killed at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let database = TestDatabase::on(&CLUSTER);
    let url = if D::FACTS.takes_host_list {
        database.url.clone()
    } else {
        let (before, rest) = database.text.split_once('@').unwrap();
        let (hosts, after) = rest.split_once('/').unwrap();
        let second = hosts.split(',').nth(1).unwrap();
        format!("{before}@{second}/{after}").parse().unwrap()
    };
    let outcomes = transfer_during::<D>(&url, |next| {
        wait_for(TRANSFERS / 4, next);
        // All workers of a host list are connected to it.
        CLUSTER.kill(1).unwrap();
        wait_for(TRANSFERS / 2, next);
        CLUSTER.restart(1).unwrap();
    });
    let mut driver: D = connect(&url);
    let ledger = read(&mut driver, "SELECT entry AS value FROM ledger");
    assert_few_lost(&outcomes, &ledger.into_iter().collect());
    let sum = "SELECT sum(balance)::INT8 AS value FROM accounts";
    assert_eq!(read(&mut driver, sum), [200], "{}", D::FACTS.name);
}
