//! Workers transfer while a node of CockroachDB is killed, and started again. They continue on the
//! other nodes, and every outcome that they report is correct.

use crdb_conformance::Driver;
use crdb_local_cluster::Cluster;

use crate::test_database::{TestDatabase, connect, read};
use crate::workers::{TRANSFERS, assert_few_lost, transfer_during, wait_for};

/// sqlx takes one host.
mod without_sqlx {
    use crdb_conformance::{Diesel, Postgres, TokioPostgres};
    use crdb_local_cluster::{Cluster, Kind};

    #[test]
    fn workers_continue_when_a_node_is_killed() {
        if !Kind::available().unwrap().contains(&Kind::Cockroach) {
            return;
        }
        let cluster = Cluster::start_nodes(3).unwrap();
        super::workers_continue::<Postgres>(&cluster);
        super::workers_continue::<TokioPostgres>(&cluster);
        super::workers_continue::<Diesel>(&cluster);
    }
}

fn workers_continue<D: Driver>(cluster: &Cluster) {
    let database = TestDatabase::on(cluster);
    let outcomes = transfer_during::<D>(&database.url, |next| {
        wait_for(TRANSFERS / 4, next);
        // All workers are connected to the first host.
        cluster.kill(1).unwrap();
        wait_for(TRANSFERS / 2, next);
        cluster.restart_node(1).unwrap();
    });
    let mut driver: D = connect(&database.url);
    let ledger = read(&mut driver, "SELECT entry AS value FROM ledger");
    assert_few_lost(&outcomes, &ledger.into_iter().collect());
    let sum = "SELECT sum(balance)::INT8 AS value FROM accounts";
    assert_eq!(read(&mut driver, sum), [200], "{}", D::NAME);
}
