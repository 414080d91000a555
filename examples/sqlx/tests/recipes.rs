//! The pool in a service. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sqlx::{connect, connect_options, pool_options, run_transaction};
use recipes::first_host;
use sqlx::{Executor, PgConnection};
use transfer::transfer_funds;

#[allow(dead_code)]
#[path = "../recipes.rs"]
mod recipes;
#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

const ACCOUNTS: &str = "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
    INSERT INTO accounts VALUES (3, 1000), (4, 250)";

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

#[tokio::test]
async fn tasks_share_a_pool_that_opens_connections_with_a_new_password() {
    for cluster in clusters() {
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let pool = connect(&url).await.unwrap();
        pool.execute(ACCOUNTS).await.unwrap();
        // The other connections are opened with the new password.
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        url.set_password("new");
        pool.set_connect_options(connect_options(&url).unwrap());
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let op = async move |txn: &mut PgConnection| transfer_funds(txn, 3, 4, 1).await;
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
        assert!((2..=4).contains(&pool.size()), "{}", pool.size());
    }
}

#[tokio::test]
async fn a_pool_changes_to_the_next_host_of_a_list() {
    for cluster in clusters() {
        let relay = Relay::start(cluster.port()).unwrap();
        let hosts = format!("localhost:{},localhost:{}", relay.port(), cluster.port());
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let url = url.with("host", &hosts).unwrap();
        let options = first_host(&url).await.unwrap();
        let pool = pool_options(&url).connect_with(options).await.unwrap();
        assert!(relay.round_trips() > 0);
        drop(relay);
        pool.execute("SELECT 1").await.unwrap_err();
        pool.set_connect_options(first_host(&url).await.unwrap());
        pool.execute("SELECT 1").await.unwrap();
    }
}
