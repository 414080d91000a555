//! Tests of the pool that `connect` returns.

use std::hash::RandomState;
use std::time::{Duration, Instant};

use crdb_local_cluster::{Cluster, Kind};
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

#[test]
fn the_lifetimes_of_connections_are_spread_over_a_fifth_of_it() {
    let (random, now) = (RandomState::new(), Instant::now());
    let created = |ms| now + Duration::from_millis(ms);
    let lifetime = |ms| source::own_lifetime(Duration::from_secs(300), &random, created(ms));
    let all: Vec<_> = (0..1000).map(|ms| lifetime(ms).as_secs()).collect();
    let (first, last) = (all.iter().min().unwrap(), all.iter().max().unwrap());
    assert!(
        (270..275).contains(first) && (325..=330).contains(last),
        "{first} {last}"
    );
    assert_eq!(lifetime(0), lifetime(0), "the same at each use");
}
