//! Transactions within a transaction are savepoints, and the pool hands on no open transaction.

use crdb_local_cluster::{Cluster, Kind};
use crdb_sqlx::{connect, run_transaction};
use sqlx::{Connection, Executor, PgConnection, PgPool};

async fn pool(cluster: &Cluster) -> PgPool {
    let pool = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let create = "CREATE TABLE nested (entry INT8 PRIMARY KEY)";
    pool.execute(create).await.unwrap();
    pool
}

async fn entries(pool: &PgPool) -> Vec<i64> {
    let select = "SELECT entry FROM nested ORDER BY entry";
    sqlx::query_scalar(select).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn a_transaction_within_op_is_a_savepoint_and_the_future_can_be_spawned() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let pool = pool(&cluster).await;
        let (shared, entry) = (pool.clone(), 3);
        let task = tokio::spawn(async move {
            let op = async move |txn: &mut PgConnection| {
                txn.execute("INSERT INTO nested VALUES (1)").await?;
                let mut inner = txn.begin().await?;
                inner.execute("INSERT INTO nested VALUES (2)").await?;
                inner.rollback().await?;
                let mut inner = txn.begin().await?;
                let insert = sqlx::query("INSERT INTO nested VALUES ($1)").bind(entry);
                insert.execute(&mut *inner).await?;
                inner.commit().await
            };
            run_transaction(&shared, op).await
        });
        task.await.unwrap().unwrap();
        assert_eq!(entries(&pool).await, [1, 3]);
    }
}

/// Until the next await, this runtime sends nothing in the background.
#[tokio::test]
async fn when_an_error_comes_back_the_transaction_is_not_open() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let pool = pool(&cluster).await;
    let op = async |txn: &mut PgConnection| {
        txn.execute("INSERT INTO nested VALUES (1)").await?;
        Err::<(), _>(sqlx::Error::RowNotFound)
    };
    run_transaction(&pool, op).await.unwrap_err();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert_eq!(cluster.execute(open).unwrap(), "0");
}
