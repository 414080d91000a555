//! Transactions within a transaction are savepoints.

use crdb_connection::Config;
use crdb_local_cluster::{Cluster, Kind};
use crdb_sea_orm::{connect, run_transaction};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

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
        let db = connect(&Config::from_url(&cluster.url()).unwrap())
            .await
            .unwrap();
        db.execute_unprepared("CREATE TABLE nested (entry INT8 PRIMARY KEY)")
            .await
            .unwrap();
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

        // What is not committed, the outer transaction takes along when it fails.
        let failed = run_transaction(&db, async |txn| {
            let inner = txn.begin().await?;
            inner
                .execute_unprepared("INSERT INTO nested VALUES (4)")
                .await?;
            inner.commit().await?;
            Err::<(), _>(DbErr::Custom("the caller's own reason".to_owned()))
        })
        .await;
        assert!(failed.is_err());
        assert_eq!(entries(&db).await, 2);
    }
}

/// What a caller does who gives the transaction a time limit.
#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_is_rolled_back() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let db = connect(&Config::from_url(&cluster.url()).unwrap())
            .await
            .unwrap();
        db.execute_unprepared("CREATE TABLE nested (entry INT8 PRIMARY KEY)")
            .await
            .unwrap();
        let too_slow = run_transaction(&db, async |txn| {
            txn.execute_unprepared("INSERT INTO nested VALUES (1)")
                .await?;
            tokio::time::sleep(std::time::Duration::from_secs(600)).await;
            Ok::<_, DbErr>(())
        });
        tokio::time::timeout(std::time::Duration::from_millis(300), too_slow)
            .await
            .unwrap_err();
        assert_eq!(entries(&db).await, 0);
        run_transaction(&db, async |txn| {
            txn.execute_unprepared("INSERT INTO nested VALUES (1)")
                .await
        })
        .await
        .unwrap();
        assert_eq!(entries(&db).await, 1);
    }
}
