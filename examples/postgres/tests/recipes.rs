//! What only this driver's recipes do. The tests of all drivers' recipes are in `crates/conformance`.

use std::time::{Duration, Instant};

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind};
use crdb_postgres::{TransactionError, connect, run_transaction};
use postgres::Client;
use recipes::*;
use transfer::transfer_funds;

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

fn url(cluster: &Cluster) -> DatabaseUrl {
    cluster.url().parse().unwrap()
}

/// Creates the accounts 1 to 4 and returns a client.
fn accounts(cluster: &Cluster) -> Client {
    let mut client = connect(&url(cluster)).unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        client.batch_execute(sql).unwrap();
    }
    client
}

fn balances(client: &mut Client) -> Vec<i64> {
    let rows = client.query("SELECT balance FROM accounts ORDER BY id", &[]);
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn an_error_of_op_keeps_its_type() {
    for cluster in clusters() {
        let mut client = accounts(&cluster);
        let mut transfer = |amount| {
            describe(run_transaction(&mut client, |txn| {
                transfer_funds(txn, 1, 2, amount)
            }))
        };
        assert_eq!(transfer(60), "transferred");
        assert_eq!(transfer(60), "refused: the account holds 40");
        assert!(transfer(0).starts_with("not transferred: an amount"));
    }
}

fn change_password(cluster: &Cluster, url: &DatabaseUrl) {
    let alter = "ALTER USER demo WITH PASSWORD 'new'";
    cluster.execute(alter).unwrap();
    assert!(connect(url).is_err());
    url.set_password("new");
}

#[test]
fn after_a_deadline_nothing_is_transferred_also_while_a_row_is_locked() {
    for cluster in clusters() {
        let mut other = accounts(&cluster);
        let limited = cluster.url() + "&options=-c%20statement_timeout%3D1s";
        let mut client = connect(&limited.parse().unwrap()).unwrap();
        let transfer = |client: &mut Client, deadline| transfer_before(client, deadline, 1, 2, 60);
        let late = transfer(&mut client, Instant::now()).unwrap_err();
        assert_eq!(late.to_string(), "the time for the transfer is over");
        let soon = Instant::now() + Duration::from_secs(60);
        let mut lock = other.transaction().unwrap();
        lock.execute("UPDATE accounts SET balance = balance WHERE id = 1", &[])
            .unwrap();
        let locked = transfer(&mut client, soon).unwrap_err();
        assert!(matches!(locked, TransactionError::Operation(_)), "{locked}");
        lock.rollback().unwrap();
        transfer(&mut client, soon).unwrap();
        assert_eq!(balances(&mut other), [40, 160, 100, 0]);
    }
}

#[test]
fn threads_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let mut client = accounts(&cluster);
        let url = url(&cluster);
        let pool = create_pool(url.clone()).unwrap();
        change_password(&cluster, &url);
        // At least two of them are new.
        let all: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
        drop(all);
        std::thread::scope(|scope| {
            for request in 0..10 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut client = pool.get().unwrap();
                    let op = |txn: &mut Client| transfer_once(txn, request / 2, 1, 2, 1);
                    run_transaction(&mut client, op).unwrap();
                });
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let transfer = transfer_in_a_handler(pool, 1, 2, 1);
        runtime.unwrap().block_on(transfer).unwrap();
        assert_eq!(balances(&mut client), [94, 106, 100, 0]);
    }
}

#[test]
fn one_statement_transfers_or_changes_nothing() {
    for cluster in clusters() {
        let mut client = accounts(&cluster);
        for (from, to, amount) in [(1, 2, 101), (1, 5, 10), (5, 1, 10), (1, 1, 10), (1, 2, -10)] {
            assert!(!transfer_in_one_statement(&mut client, from, to, amount).unwrap());
        }
        assert!(transfer_in_one_statement(&mut client, 1, 2, 60).unwrap());
        assert_eq!(balances(&mut client), [40, 160, 100, 0]);
    }
}

#[test]
fn the_server_generates_a_uuid_key() {
    for cluster in clusters() {
        let mut client = connect(&url(&cluster)).unwrap();
        client.batch_execute(PAYMENTS).unwrap();
        let insert = "INSERT INTO payments (amount) VALUES (10) RETURNING id::TEXT";
        let id: String = client.query_one(insert, &[]).unwrap().get(0);
        assert_eq!(id.len(), 36);
    }
}

#[test]
#[ignore = "needs CockroachDB"]
fn a_stale_read_returns_older_data() {
    let cluster = Cluster::start_as(Kind::Cockroach).unwrap();
    let mut client = accounts(&cluster);
    std::thread::sleep(Duration::from_secs(8));
    let update = "UPDATE accounts SET balance = 0";
    client.batch_execute(update).unwrap();
    let row = client.query_one(STALE_READ, &[&1_i64]).unwrap();
    assert_eq!(row.get::<_, i64>("balance"), 100);
}

#[test]
fn a_prepared_statement_fails_after_its_columns_change() {
    for cluster in clusters() {
        let mut client = accounts(&cluster);
        let prepared = client.prepare("SELECT * FROM accounts").unwrap();
        client
            .batch_execute("ALTER TABLE accounts ADD COLUMN owner TEXT")
            .unwrap();
        let error = client.query(&prepared, &[]).unwrap_err();
        let error = error.as_db_error().unwrap().message();
        assert_eq!(error, "cached plan must not change result type");
        client.query_typed("SELECT * FROM accounts", &[]).unwrap();
    }
}
