//! Tests of the pool that `connect` returns.

use std::time::Duration;

use crdb_local_cluster::{Cluster, Kind};
use crdb_tokio_postgres::{TransactionError, connect, run_transaction};
use deadpool_postgres::Pool;

async fn pool(cluster: &Cluster) -> Pool {
    let pool = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let client = pool.get().await.unwrap();
    client
        .batch_execute("CREATE TABLE requests (id INT8 PRIMARY KEY)")
        .await
        .unwrap();
    drop(client);
    pool
}

async fn requests(pool: &Pool) -> i64 {
    let client = pool.get().await.unwrap();
    let row = client.query_one("SELECT count(*) FROM requests", &[]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_handed_out_again() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let pool = pool(&cluster).await;
    cluster
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'demo'")
        .unwrap();
    // The driver notices the end of the connection when its task runs.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(requests(&pool).await, 0);
}

#[tokio::test]
async fn a_failed_transaction_gives_its_connection_back() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let pool = pool(&cluster).await;
    let backend = "SELECT pg_backend_pid()";
    let before: i32 = {
        let client = pool.get().await.unwrap();
        client.query_one(backend, &[]).await.unwrap().get(0)
    };
    let failed = run_transaction(&pool, async move |txn| {
        txn.batch_execute("SELECT no_such_column").await
    })
    .await;
    assert!(matches!(failed, Err(TransactionError::Operation(_))));
    assert_eq!(pool.status().size, 1);
    let client = pool.get().await.unwrap();
    let after: i32 = client.query_one(backend, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
}
