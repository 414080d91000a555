//! Runs the listings of README.md on a server.

use std::time::{Duration, Instant};

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

/// Creates a pool of another size.
async fn create_pool(url: &DatabaseUrl) -> anyhow::Result<DatabaseConnection> {
    let options = connect_options(url)?;
    let pool = pool_options(url).max_connections(16);
    Ok(pool.connect_with(options).await?.into())
}

/// Lets the next connections of the pool use this password.
fn set_password(db: &DatabaseConnection, url: &DatabaseUrl, password: &str) -> anyhow::Result<()> {
    url.set_password(password);
    let pool = db.get_postgres_connection_pool();
    pool.set_connect_options(connect_options(url)?);
    Ok(())
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
        let db = create_accounts(&cluster).await;
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
        assert!((2..=4).contains(&opened), "{opened}");
    }
}

#[tokio::test]
async fn a_pool_has_the_size_that_the_program_gives_it() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let db = create_pool(&cluster.url().parse().unwrap()).await.unwrap();
    let options = db.get_postgres_connection_pool().options();
    assert_eq!(options.get_max_connections(), 16);
}

/// Each of four tasks transfers while each connection of the pool is replaced.
#[tokio::test]
async fn no_transfer_fails_while_the_password_changes() {
    const LIFETIME: Duration = Duration::from_secs(1);
    for cluster in clusters() {
        let accounts = create_accounts(&cluster).await;
        let create = "CREATE USER app WITH PASSWORD 'old'; GRANT demo TO app";
        cluster.execute(create).unwrap();
        let url: DatabaseUrl = cluster.url_with("app", "old").parse().unwrap();
        let options = pool_options(&url).max_lifetime(LIFETIME);
        let options = options.connect_with(connect_options(&url).unwrap());
        let pool = options.await.unwrap();
        let db = DatabaseConnection::from(pool.clone());
        // The connections are new, so none is opened before the pool has the password.
        tokio::try_join!(
            pool.acquire(),
            pool.acquire(),
            pool.acquire(),
            pool.acquire()
        )
        .unwrap();
        let renew = "ALTER USER app WITH PASSWORD 'new'";
        cluster.execute(renew).unwrap();
        assert!(connect(&url).await.is_err());
        set_password(&db, &url, "new").unwrap();
        let begin = Instant::now();
        let transfer = async || {
            while begin.elapsed() < 3 * LIFETIME {
                for [from, to] in [[1, 2], [2, 1]] {
                    let op = async move |txn: &DatabaseTransaction| {
                        transfer_funds(txn, from, to, 1).await
                    };
                    run_transaction(&db, op).await.unwrap();
                }
            }
        };
        tokio::join!(transfer(), transfer(), transfer(), transfer());
        assert_eq!(balances(&accounts).await, [100, 100, 100, 0]);
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
