//! Tests of the pool that `connect` returns.

use std::hash::RandomState;
use std::time::{Duration, Instant};

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Hold, Kind, Relay};
use crdb_tokio_postgres::{TransactionError, connect, run_transaction};
use deadpool_postgres::Pool;
use tokio_postgres::Client;

#[allow(dead_code)]
#[path = "../src/connect.rs"]
mod source;

/// Returns the id of the server's process for a connection of the pool.
async fn backend(pool: &Pool) -> i32 {
    let client = pool.get().await.unwrap();
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_failed_transaction_gives_its_connection_back_and_a_lost_one_is_replaced() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let pool = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let before = backend(&pool).await;
    let op = async |txn: &Client| txn.batch_execute("SELECT no_such_column").await;
    let failed = run_transaction(&pool, op).await;
    assert!(matches!(failed, Err(TransactionError::Operation(_))));
    assert_eq!(pool.status().size, 1);
    assert_eq!(backend(&pool).await, before);

    let end = format!("SELECT pg_terminate_backend({before})");
    cluster.execute(&end).unwrap();
    // The driver notices the end of the connection when its task runs.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_ne!(backend(&pool).await, before);
}

#[tokio::test]
async fn each_new_connection_passes_over_a_host_that_does_not_answer() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let relay = Relay::start(cluster.port()).unwrap();
    let hosts = format!("localhost:{},localhost:{}", relay.port(), cluster.port());
    let url: DatabaseUrl = cluster.url().parse().unwrap();
    let url = url.with("connect_timeout", "2").unwrap();
    let pool = connect(&url.with("host", &hosts).unwrap()).await.unwrap();
    let first = pool.get().await.unwrap();
    relay.hold(Hold::Answer(1));
    let second = pool.get().await.unwrap();
    relay.cut_all();
    first.batch_execute("SELECT 1").await.unwrap_err();
    second.batch_execute("SELECT 1").await.unwrap();
}

#[test]
fn lifetimes_are_spread_over_a_fifth_and_stay_the_same_for_a_connection() {
    let (random, now) = (RandomState::new(), Instant::now());
    let lifetime = |ms| {
        let created = now + Duration::from_millis(ms);
        source::own_lifetime(Duration::from_secs(300), &random, created).as_secs_f64()
    };
    let mut all: Vec<f64> = (0..1000).map(lifetime).collect();
    assert_eq!(all, (0..1000).map(lifetime).collect::<Vec<_>>());
    all.sort_by(f64::total_cmp);
    assert!(all[0] >= 270.0 && all[999] <= 330.0, "{all:?}");
    assert!(all[100] < 280.0 && all[900] > 320.0, "{all:?}");
}
