//! What only this driver's recipes do. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_diesel::{connect, run_transaction};
use crdb_local_cluster::{Cluster, Kind};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use recipes::*;

#[allow(dead_code)]
#[path = "../recipes.rs"]
mod recipes;
#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

fn url(cluster: &Cluster) -> DatabaseUrl {
    cluster.url().parse().unwrap()
}

/// Creates the accounts 1 to 4 and returns a connection.
fn create_accounts(cluster: &Cluster) -> PgConnection {
    let mut conn = connect(&url(cluster)).unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        conn.batch_execute(sql).unwrap();
    }
    conn
}

fn balances(conn: &mut PgConnection) -> Vec<i64> {
    let balances = accounts::table.select(accounts::balance);
    balances.order(accounts::id).load(conn).unwrap()
}

#[test]
fn threads_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let mut conn = create_accounts(&cluster);
        let pool = create_pool(url(&cluster)).unwrap();
        std::thread::scope(|scope| {
            for request in 0..10 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut conn = pool.get().unwrap();
                    let op = |txn: &mut PgConnection| transfer_once(txn, request / 2, 1, 2, 1);
                    run_transaction(&mut conn, op).unwrap();
                });
            }
        });
        assert_eq!(balances(&mut conn), [95, 105, 100, 0]);
    }
}
