//! Runs the listings of README.md on a server.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind, Relay};
use crdb_tokio_postgres::{TransactionError, connect, pool_builder, run_transaction};
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use transfer::{TransferError, transfer_funds};

#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

/// Describes the outcome of a transfer.
fn describe(result: Result<(), TransactionError<TransferError>>) -> String {
    match result {
        Ok(()) => "transferred".to_owned(),
        Err(TransactionError::Operation(TransferError::InsufficientFunds { balance, .. })) => {
            format!("refused: the account holds {balance}")
        }
        Err(TransactionError::AmbiguousCommit(error)) => format!("unknown: {error}"),
        Err(error) => format!("not transferred: {error}"),
    }
}

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
async fn transfer_once(
    txn: &Client,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    match txn.execute_typed(sql, &[(&request, Type::INT8)]).await? {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}

/// The state that all requests share. All clones share one pool.
#[derive(Clone)]
struct Service {
    pool: Pool,
}

impl Service {
    /// Handles one request, on one connection of the pool.
    async fn transfer(&self, from: i64, to: i64, amount: i64) -> String {
        let op = async move |txn: &Client| transfer_funds(txn, from, to, amount).await;
        describe(run_transaction(&self.pool, op).await)
    }
}

/// Transfers in one SQL statement. Returns false if nothing was transferred.
async fn transfer_in_one_statement(
    client: &Client,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<bool, tokio_postgres::Error> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let updated = client
        .execute_typed(
            sql,
            &[
                (&from, Type::INT8),
                (&to, Type::INT8),
                (&amount, Type::INT8),
            ],
        )
        .await?;
    Ok(updated == 2)
}

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

/// Creates the accounts 1 to 4 and returns a pool.
async fn create_accounts(cluster: &Cluster) -> Pool {
    let pool = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let client = pool.get().await.unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    drop(client);
    pool
}

async fn balances(pool: &Pool) -> Vec<i64> {
    let client = pool.get().await.unwrap();
    let sql = "SELECT balance FROM accounts ORDER BY id";
    let rows = client.query_typed(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get("balance")).collect()
}

#[tokio::test]
async fn the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let pool = create_accounts(&cluster).await;
        for request in [7, 7, 8] {
            let op = async move |txn: &Client| transfer_once(txn, request, 1, 2, 10).await;
            run_transaction(&pool, op).await.unwrap();
        }
        assert_eq!(balances(&pool).await, [80, 120, 100, 0]);
    }
}

#[tokio::test]
async fn a_service_answers_more_requests_than_it_has_connections() {
    for cluster in clusters() {
        drop(create_accounts(&cluster).await);
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let service = Service {
            pool: pool_builder(&url).unwrap().max_size(16).build().unwrap(),
        };
        // The other connections are opened with the new password.
        drop(service.pool.get().await.unwrap());
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        url.set_password("new");
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { service.transfer(1, 2, 1).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), "transferred");
        }
        assert_eq!(service.pool.status().size, 16);
        assert_eq!(balances(&service.pool).await, [50, 150, 100, 0]);
        let refused = service.transfer(1, 2, 60).await;
        assert_eq!(refused, "refused: the account holds 50");
        let refused = service.transfer(1, 2, 0).await;
        assert!(refused.starts_with("not transferred: an amount"));
    }
}

#[tokio::test]
async fn one_statement_transfers_or_changes_nothing_in_one_round_trip() {
    for cluster in clusters() {
        let pool = create_accounts(&cluster).await;
        let client = pool.get().await.unwrap();
        for (from, to, amount) in [(1, 2, 101), (1, 5, 10), (5, 1, 10), (1, 1, 10), (1, 2, -10)] {
            let moved = transfer_in_one_statement(&client, from, to, amount).await;
            assert!(!moved.unwrap());
        }
        let relay = Relay::start(cluster.port()).unwrap();
        let through_relay = cluster.url_through(&relay).parse().unwrap();
        let relayed = connect(&through_relay).await.unwrap();
        let client = relayed.get().await.unwrap();
        let before = relay.round_trips();
        assert!(transfer_in_one_statement(&client, 1, 2, 60).await.unwrap());
        assert_eq!(relay.round_trips() - before, 1);
        assert_eq!(balances(&pool).await, [40, 160, 100, 0]);
    }
}
