//! Transactions within a transaction are savepoints.

use crdb_local_cluster::{Cluster, Kind};
use crdb_sea_orm::{connect, run_transaction};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionError, TransactionTrait,
};

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

        // If the outer transaction fails, the inner one is rolled back too.
        let failed = run_transaction(&db, async |txn| {
            let inner = txn.begin().await?;
            inner
                .execute_unprepared("INSERT INTO nested VALUES (4)")
                .await?;
            inner.commit().await?;
            Err::<(), _>(DbErr::Custom("the caller's own error".to_owned()))
        })
        .await;
        assert!(failed.is_err());
        assert_eq!(entries(&db).await, 2);
    }
}

#[derive(Debug, thiserror::Error)]
enum OpError {
    #[error("the inner transaction failed")]
    Source(#[source] TransactionError<DbErr>),
    #[error(transparent)]
    Transparent(TransactionError<DbErr>),
}

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
            fail_inside(txn, runs).await
        })
        .await
        .unwrap();
        assert_eq!(runs, 3, "as it is: {message}");
        for wrap in [OpError::Source, OpError::Transparent] {
            let mut runs = 0;
            run_transaction(&db, async |txn| {
                runs += 1;
                fail_inside(txn, runs).await.map_err(wrap)
            })
            .await
            .unwrap();
            assert_eq!(runs, 3, "wrapped: {message}");
        }
    }
}

/// sqlx ends the outer transaction if the BEGIN of an inner one fails; the retry begins anew.
#[tokio::test]
async fn a_write_after_an_inner_begin_that_failed_is_not_lost() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let db = connect_to(&cluster).await;
    create_ask_for_retry(&cluster, "restart transaction: forced");
    let mut runs = 0;
    run_transaction(&db, async |txn| {
        runs += 1;
        if runs == 1 {
            let slow = txn.execute_unprepared("SELECT pg_sleep(0.2), ask_for_retry()");
            let limit = std::time::Duration::from_millis(50);
            tokio::time::timeout(limit, slow).await.unwrap_err();
            txn.begin().await?.commit().await?;
        }
        txn.execute_unprepared("INSERT INTO nested VALUES (1)")
            .await
    })
    .await
    .unwrap();
    assert_eq!(runs, 2);
    db.execute_unprepared("INSERT INTO nested VALUES (2)")
        .await
        .unwrap();
    let committed = cluster.execute("SELECT count(*) FROM nested").unwrap();
    assert_eq!(committed, "2");
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
