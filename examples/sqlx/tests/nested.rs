//! Transactions within a transaction are savepoints, and the pool hands on no open transaction.

use std::time::Duration;

use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sqlx::{TransactionError, connect, run_transaction};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::time::timeout;

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

/// Each `begin` that is dropped decrements the depth that sqlx counts, so that it sends no ROLLBACK.
#[tokio::test]
async fn after_nested_begins_that_time_out_no_later_write_is_lost() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let relay = Relay::start(cluster.port()).unwrap();
        let url = cluster.url_through(&relay).parse().unwrap();
        let (relayed, direct) = (connect(&url).await.unwrap(), pool(&cluster).await);
        relay.set_delay(Duration::from_millis(20));
        let op = async |txn: &mut PgConnection| {
            for _ in 0..2 {
                let begin = timeout(Duration::from_millis(5), txn.begin()).await;
                assert!(begin.is_err(), "the relay delays it");
            }
            Err::<(), _>(sqlx::Error::RowNotFound)
        };
        let result = run_transaction(&relayed, op).await;
        let is_ambiguous = matches!(result, Err(TransactionError::AmbiguousCommit(_)));
        assert!(is_ambiguous, "{result:?}");
        let insert = "INSERT INTO nested VALUES (1)";
        relayed.execute(insert).await.unwrap();
        assert_eq!(entries(&direct).await, [1], "{kind:?}");
    }
}

/// Each transaction that is dropped queues a rollback that CockroachDB rejects after a retry error.
#[tokio::test]
#[ignore = "needs CockroachDB"]
async fn a_retry_error_within_nested_transactions_is_retried_and_no_later_write_is_lost() {
    let cluster = Cluster::start_as(Kind::Cockroach).unwrap();
    let pool = pool(&cluster).await;
    for ignores_errors in [false, true] {
        pool.execute("UPSERT INTO nested VALUES (1)").await.unwrap();
        let (mut runs, other) = (0, pool.clone());
        let op = async |txn: &mut PgConnection| {
            runs += 1;
            if runs > 1 {
                return Ok(());
            }
            txn.execute("SELECT entry FROM nested").await?;
            other.execute("UPDATE nested SET entry = entry").await?;
            let mut outer = txn.begin().await?;
            let mut inner = outer.begin().await?;
            let update = inner.execute("UPDATE nested SET entry = entry").await;
            if ignores_errors {
                let _ = inner.begin().await.map(drop);
                return Ok(());
            }
            update.map(drop)
        };
        let result = run_transaction(&pool, op).await;
        if !ignores_errors {
            result.unwrap();
            assert_eq!(runs, 2);
        }
        pool.execute("INSERT INTO nested VALUES (2)").await.unwrap();
        let mut direct = PgConnection::connect(&cluster.url()).await.unwrap();
        let deleted = direct.execute("DELETE FROM nested WHERE entry = 2").await;
        assert_eq!(deleted.unwrap().rows_affected(), 1);
    }
}
