//! What only this driver's recipes do. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind};
use crdb_sea_orm::{connect, connect_options, pool_options, run_transaction};
use recipes::*;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement};

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

/// Creates the accounts 1 to 4 and returns a connection.
async fn create_accounts(cluster: &Cluster) -> DatabaseConnection {
    let db = connect(&cluster.url().parse().unwrap()).await.unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    db
}

async fn balances(db: &DatabaseConnection) -> Vec<i64> {
    let sql = "SELECT balance FROM accounts ORDER BY id";
    let select = Statement::from_string(DbBackend::Postgres, sql);
    let rows = db.query_all_raw(select).await.unwrap();
    let balance = |row: &sea_orm::QueryResult| row.try_get("", "balance").unwrap();
    rows.iter().map(balance).collect()
}

#[tokio::test]
async fn tasks_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        drop(create_accounts(&cluster).await);
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let pool = pool_options(&url).max_connections(16);
        let pool = pool
            .connect_with(connect_options(&url).unwrap())
            .await
            .unwrap();
        let db = DatabaseConnection::from(pool);
        // The other connections are opened with the new password.
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        url.set_password("new");
        let pool = db.get_postgres_connection_pool();
        pool.set_connect_options(connect_options(&url).unwrap());
        let requests: Vec<_> = (0..50)
            .map(|request| {
                let db = db.clone();
                tokio::spawn(async move {
                    let op = async move |txn: &DatabaseTransaction| {
                        transfer_once(txn, request / 2, 1, 2, 1).await
                    };
                    run_transaction(&db, op).await
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        assert_eq!(balances(&db).await, [75, 125, 100, 0]);
        let opened = db.get_postgres_connection_pool().size();
        assert!((5..=16).contains(&opened), "{opened}");
    }
}
