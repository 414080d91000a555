//! The pool in a service. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_diesel::run_transaction;
use crdb_local_cluster::{Cluster, Kind};
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use recipes::create_pool;
use transfer::transfer_funds;

#[allow(dead_code)]
#[path = "../recipes.rs"]
mod recipes;
#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

const ACCOUNTS: &str = "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
    INSERT INTO accounts VALUES (3, 1000), (4, 250)";

#[test]
fn threads_share_a_pool() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let pool = create_pool(cluster.url().parse().unwrap()).unwrap();
        pool.get().unwrap().batch_execute(ACCOUNTS).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let op = |txn: &mut PgConnection| transfer_funds(txn, 3, 4, 1);
                    run_transaction(&mut pool.get().unwrap(), op).unwrap();
                });
            }
        });
        let balances = "SELECT balance FROM accounts ORDER BY id";
        let balances = cluster.execute(balances).unwrap();
        assert!(balances.ends_with("990\n260"), "{balances}");
    }
}
