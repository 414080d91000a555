//! What only this driver's recipes do. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sqlx::{connect, connect_options, pool_options, run_transaction};
use recipes::*;
use sqlx::{Executor, PgConnection, PgPool};

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

/// Creates the accounts 1 and 2 and returns a pool.
async fn create_accounts(cluster: &Cluster) -> PgPool {
    let pool = connect(&url(cluster)).await.unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100)",
    ] {
        pool.execute(sql).await.unwrap();
    }
    pool
}

async fn balances(pool: &PgPool) -> Vec<i64> {
    let sql = "SELECT balance FROM accounts ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn tasks_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let pool = create_accounts(&cluster).await;
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        let url = url(&cluster).with("password", "new").unwrap();
        pool.set_connect_options(connect_options(&url).unwrap());
        let requests: Vec<_> = (0..50)
            .map(|request| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let op = async move |txn: &mut PgConnection| {
                        transfer_once(txn, request / 2, 1, 2, 1).await
                    };
                    run_transaction(&pool, op).await
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        assert_eq!(balances(&pool).await, [75, 125]);
        assert!((2..=4).contains(&pool.size()), "{}", pool.size());
    }
}

#[tokio::test]
async fn a_pool_changes_to_the_next_host_of_a_list() {
    for cluster in clusters() {
        let relay = Relay::start(cluster.port()).unwrap();
        let hosts = format!("localhost:{},localhost:{}", relay.port(), cluster.port());
        let url = url(&cluster).with("host", &hosts).unwrap();
        let options = first_host(&url).await.unwrap();
        let pool = pool_options(&url).connect_with(options).await.unwrap();
        assert!(relay.round_trips() > 0);
        drop(relay);
        pool.execute("SELECT 1").await.unwrap_err();
        pool.set_connect_options(first_host(&url).await.unwrap());
        pool.execute("SELECT 1").await.unwrap();
    }
}
