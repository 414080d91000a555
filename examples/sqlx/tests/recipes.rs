//! Runs the listings of README.md on a server.

use std::time::Duration;

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_sqlx::{connect, connect_options, pool_options, run_transaction};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::time::timeout;
use transfer::{TransferError, transfer_funds};

#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
async fn transfer_once(
    txn: &mut PgConnection,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(sql).bind(request).execute(&mut *txn).await?;
    match insert.rows_affected() {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}

/// Returns the options of the first host of a list that accepts a connection.
async fn first_host(url: &DatabaseUrl) -> anyhow::Result<PgConnectOptions> {
    for host in url.each_host() {
        let options = connect_options(&host)?;
        let attempt = PgConnection::connect_with(&options);
        if let Ok(Ok(_)) = timeout(host.connect_timeout(), attempt).await {
            return Ok(options);
        }
    }
    anyhow::bail!("no host accepts a connection")
}

/// Transfers in one SQL statement. Returns false if nothing was transferred.
async fn transfer_in_one_statement(
    pool: &PgPool,
    from: i64,
    to: i64,
    amount: i64,
) -> sqlx::Result<bool> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let update = sqlx::query(sql).bind(from).bind(to).bind(amount);
    Ok(update.execute(pool).await?.rows_affected() == 2)
}

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

fn url(cluster: &Cluster) -> DatabaseUrl {
    cluster.url().parse().unwrap()
}

/// Creates the accounts 1 and 2 and returns a pool.
async fn create_accounts(cluster: &Cluster) -> PgPool {
    let pool = connect(&url(cluster)).await.unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100)",
    ] {
        pool.execute(sql).await.unwrap();
    }
    pool
}

async fn balances(pool: &PgPool) -> Vec<i64> {
    let sql = "SELECT balance FROM accounts ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn tasks_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let pool = create_accounts(&cluster).await;
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        let url = url(&cluster).with("password", "new").unwrap();
        pool.set_connect_options(connect_options(&url).unwrap());
        let requests: Vec<_> = (0..50)
            .map(|request| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let op = async move |txn: &mut PgConnection| {
                        transfer_once(txn, request / 2, 1, 2, 1).await
                    };
                    run_transaction(&pool, op).await
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        assert_eq!(balances(&pool).await, [75, 125]);
        assert!((2..=4).contains(&pool.size()), "{}", pool.size());
    }
}

#[tokio::test]
async fn a_pool_changes_to_the_next_host_of_a_list() {
    for cluster in clusters() {
        let relay = Relay::start(cluster.port()).unwrap();
        let hosts = format!("localhost:{},localhost:{}", relay.port(), cluster.port());
        let url = url(&cluster).with("host", &hosts).unwrap();
        let options = first_host(&url).await.unwrap();
        let pool = pool_options(&url).connect_with(options).await.unwrap();
        assert!(relay.round_trips() > 0);
        drop(relay);
        pool.execute("SELECT 1").await.unwrap_err();
        pool.set_connect_options(first_host(&url).await.unwrap());
        pool.execute("SELECT 1").await.unwrap();
    }
}

#[tokio::test]
async fn one_statement_transfers_or_changes_nothing_in_two_round_trips() {
    for cluster in clusters() {
        let pool = create_accounts(&cluster).await;
        for (from, to, amount) in [(1, 2, 101), (1, 5, 10), (5, 1, 10), (1, 1, 10), (1, 2, -10)] {
            let moved = transfer_in_one_statement(&pool, from, to, amount).await;
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
        assert_eq!(balances(&pool).await, [40, 160]);
    }
}
