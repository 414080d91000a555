//! Runs the listings of README.md on a server.

use std::time::Duration;

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sea_orm::{connect, connect_options, pool_options, run_transaction};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
};
use transfer::{TransferError, transfer_funds};

#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
async fn transfer_once(
    txn: &DatabaseTransaction,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    let insert = Statement::from_sql_and_values(DbBackend::Postgres, sql, [request.into()]);
    match txn.execute_raw(insert).await?.rows_affected() {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}

/// Transfers in one SQL statement. Returns false if nothing was transferred.
async fn transfer_in_one_statement(
    db: &DatabaseConnection,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<bool, DbErr> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let values = [from.into(), to.into(), amount.into()];
    let update = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(db.execute_raw(update).await?.rows_affected() == 2)
}

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

#[tokio::test]
async fn one_statement_transfers_or_changes_nothing_in_two_round_trips() {
    for cluster in clusters() {
        let db = create_accounts(&cluster).await;
        for (from, to, amount) in [(1, 2, 101), (1, 5, 10), (5, 1, 10), (1, 1, 10), (1, 2, -10)] {
            let moved = transfer_in_one_statement(&db, from, to, amount).await;
            assert!(!moved.unwrap());
        }
        let relay = Relay::start(cluster.port()).unwrap();
        let through_relay = cluster.url_through(&relay).parse().unwrap();
        let relayed = connect(&through_relay).await.unwrap();
        // sqlx prepares the statement at its first use. The second round trip is the ping when the
        // connection returns to the pool.
        let mut costs = Vec::new();
        for amount in [20, 40] {
            let before = relay.round_trips();
            let moved = transfer_in_one_statement(&relayed, 1, 2, amount).await;
            assert!(moved.unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
            costs.push(relay.round_trips() - before);
        }
        assert_eq!(costs[1], 2, "{costs:?}");
        assert_eq!(balances(&db).await, [40, 160, 100, 0]);
    }
}
