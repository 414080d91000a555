//! Transactions within a transaction are savepoints.

use std::time::Duration;

use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sea_orm::{TransactionError as Outcome, connect, run_transaction};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionError, TransactionTrait,
};
use tokio::time::timeout;

/// Connects, and creates the table `nested`.
async fn connect_to(cluster: &Cluster) -> DatabaseConnection {
    let db = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let create = "CREATE TABLE nested (entry INT8 PRIMARY KEY)";
    db.execute_unprepared(create).await.unwrap();
    db
}

/// Creates the function `ask_for_retry`, which fails with this message.
fn create_ask_for_retry(cluster: &Cluster, message: &str) {
    let create = format!(
        "CREATE OR REPLACE FUNCTION ask_for_retry() RETURNS INT8 AS $$ BEGIN
             RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = '{message}';
         END $$ LANGUAGE plpgsql"
    );
    cluster.execute(&create).unwrap();
}

async fn entries(db: &DatabaseConnection) -> i64 {
    let count = Statement::from_string(DbBackend::Postgres, "SELECT count(*) AS n FROM nested");
    db.query_one_raw(count)
        .await
        .unwrap()
        .unwrap()
        .try_get("", "n")
        .unwrap()
}

#[tokio::test]
async fn a_transaction_within_op_is_a_savepoint_and_not_a_second_begin() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let db = connect_to(&cluster).await;
        run_transaction(&db, async |txn| {
            txn.execute_unprepared("INSERT INTO nested VALUES (1)")
                .await?;
            let inner = txn.begin().await?;
            inner
                .execute_unprepared("INSERT INTO nested VALUES (2)")
                .await?;
            inner.rollback().await?;
            let inner = txn.begin().await?;
            inner
                .execute_unprepared("INSERT INTO nested VALUES (3)")
                .await?;
            inner.commit().await
        })
        .await
        .unwrap();
        assert_eq!(entries(&db).await, 2, "1 and 3, without 2");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the inner transaction failed")]
struct OpError(#[source] TransactionError<DbErr>);

/// Asks for a retry in its first two runs, in a nested transaction.
async fn fail_inside(txn: &DatabaseTransaction, run: i32) -> Result<(), TransactionError<DbErr>> {
    txn.transaction::<_, (), DbErr>(|inner| {
        Box::pin(async move {
            if run <= 2 {
                inner.execute_unprepared("SELECT ask_for_retry()").await?;
            }
            Ok(())
        })
    })
    .await
}

#[tokio::test]
async fn a_retry_error_of_an_inner_transaction_is_found() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let db = connect(&cluster.url().parse().unwrap()).await.unwrap();
    for message in ["restart transaction: forced", "could not serialize access"] {
        create_ask_for_retry(&cluster, message);
        let mut runs = 0;
        run_transaction(&db, async |txn| {
            runs += 1;
            fail_inside(txn, runs).await.map_err(OpError)
        })
        .await
        .unwrap();
        assert_eq!(runs, 3, "{message}");
    }
}

/// sqlx ends the outer transaction if the BEGIN of an inner one fails.
#[tokio::test]
async fn a_write_after_an_inner_begin_that_failed_is_not_lost() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let db = connect_to(&cluster).await;
    create_ask_for_retry(&cluster, "restart transaction: forced");
    let result = run_transaction(&db, async |txn| {
        let slow = txn.execute_unprepared("SELECT pg_sleep(0.2), ask_for_retry()");
        timeout(Duration::from_millis(50), slow).await.unwrap_err();
        txn.begin().await?.commit().await
    });
    let result = result.await;
    assert!(
        matches!(result, Err(Outcome::AmbiguousCommit(_))),
        "{result:?}"
    );
    assert_insert_is_committed(&cluster, &db).await;
}

/// Inserts on a connection of the pool, and reads the entry on another one.
async fn assert_insert_is_committed(cluster: &Cluster, db: &DatabaseConnection) {
    let insert = "INSERT INTO nested VALUES (1)";
    db.execute_unprepared(insert).await.unwrap();
    let other = connect(&cluster.url().parse().unwrap()).await.unwrap();
    assert_eq!(entries(&other).await, 1);
}

/// Each `begin` that is dropped decrements the depth that sqlx counts, so that it sends no ROLLBACK.
#[tokio::test]
async fn after_nested_begins_that_time_out_no_later_write_is_lost() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        connect_to(&cluster).await;
        let relay = Relay::start(cluster.port()).unwrap();
        let url = cluster.url_through(&relay).parse().unwrap();
        let db = connect(&url).await.unwrap();
        relay.set_delay(Duration::from_millis(20));
        let result = run_transaction(&db, async |txn| {
            for _ in 0..2 {
                let begin = timeout(Duration::from_millis(5), txn.begin()).await;
                assert!(begin.is_err(), "the relay delays it");
            }
            Err::<(), _>(DbErr::Custom("the caller's own error".to_owned()))
        });
        let result = result.await;
        assert!(
            matches!(result, Err(Outcome::AmbiguousCommit(_))),
            "{result:?}"
        );
        assert_insert_is_committed(&cluster, &db).await;
    }
}

/// Until the next await, this runtime sends nothing in the background.
#[tokio::test]
async fn when_an_error_comes_back_the_transaction_is_not_open() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let db = connect_to(&cluster).await;
    let op = async |txn: &DatabaseTransaction| {
        txn.execute_unprepared("INSERT INTO nested VALUES (1)")
            .await?;
        Err::<(), _>(DbErr::Custom("the caller's own error".to_owned()))
    };
    run_transaction(&db, op).await.unwrap_err();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert_eq!(cluster.execute(open).unwrap(), "0");
}
