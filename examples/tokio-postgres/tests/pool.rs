//! Tests of the pool that `connect` returns.

use std::time::Duration;

use crdb_local_cluster::{Cluster, Kind};
use crdb_tokio_postgres::{TransactionError, connect, run_transaction};
use deadpool_postgres::Pool;
use tokio_postgres::Client;

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
