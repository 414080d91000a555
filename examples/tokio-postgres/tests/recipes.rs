//! The pool in a service. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind};
use crdb_tokio_postgres::{pool_builder, run_transaction};
use tokio_postgres::Client;
use transfer::transfer_funds;

#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

const ACCOUNTS: &str = "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
    INSERT INTO accounts VALUES (3, 1000), (4, 250)";

#[tokio::test]
async fn tasks_share_a_pool_that_opens_connections_with_a_new_password() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let pool = pool_builder(&url).unwrap().max_size(16).build().unwrap();
        let client = pool.get().await.unwrap();
        client.batch_execute(ACCOUNTS).await.unwrap();
        // The other connections are opened with the new password.
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        url.set_password("new");
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let op = async move |txn: &Client| transfer_funds(txn, 3, 4, 1).await;
                    run_transaction(&pool, op).await
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        let balances = "SELECT balance FROM accounts ORDER BY id";
        let balances = cluster.execute(balances).unwrap();
        assert!(balances.ends_with("950\n300"), "{balances}");
        assert_eq!(pool.status().size, 16);
    }
}
