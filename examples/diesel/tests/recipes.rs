//! Runs the listings of README.md on a server.

use std::io;
use std::time::Duration;

use crdb_connection::DatabaseUrl;
use crdb_diesel::{connect, run_transaction};
use crdb_local_cluster::{Cluster, Kind, Relay};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::dsl::{case_when, exists};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use r2d2::{ManageConnection, Pool};
use transfer::{TransferError, transfer_funds};

#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

diesel::table! {
    accounts (id) {
        id -> BigInt,
        balance -> BigInt,
    }
}

diesel::table! {
    requests (id) {
        id -> BigInt,
    }
}

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
fn transfer_once(
    txn: &mut PgConnection,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let inserted = diesel::insert_into(requests::table)
        .values(requests::id.eq(request))
        .on_conflict_do_nothing()
        .execute(txn)?;
    match inserted {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount),
    }
}

/// Opens and checks the connections of the pool.
struct Manager(DatabaseUrl);

impl ManageConnection for Manager {
    type Connection = PgConnection;
    type Error = io::Error;

    fn connect(&self) -> io::Result<PgConnection> {
        connect(&self.0).map_err(io::Error::other)
    }

    fn is_valid(&self, conn: &mut PgConnection) -> io::Result<()> {
        conn.batch_execute("SELECT 1").map_err(io::Error::other)
    }

    fn has_broken(&self, conn: &mut PgConnection) -> bool {
        AnsiTransactionManager::is_broken_transaction_manager(conn)
    }
}

/// Creates a pool. r2d2 reports why it cannot connect after 30 seconds, `connect` at once.
fn create_pool(url: DatabaseUrl) -> anyhow::Result<Pool<Manager>> {
    connect(&url)?;
    let pool = Pool::builder()
        .max_size(4)
        .min_idle(Some(1))
        .max_lifetime(Some(Duration::from_secs(5 * 60)))
        .build(Manager(url))?;
    Ok(pool)
}

diesel::alias!(accounts as others: Others);

/// Transfers in one SQL statement. Returns false if nothing was transferred.
fn transfer_in_one_statement(
    conn: &mut PgConnection,
    from: i64,
    to: i64,
    amount: i64,
) -> QueryResult<bool> {
    let (id, balance) = others.fields((accounts::id, accounts::balance));
    let funded = others.filter(id.eq(from)).filter(balance.ge(amount));
    let target = others.filter(id.eq(to)).filter(id.ne(from));
    let changed = case_when(accounts::id.eq(from), accounts::balance - amount)
        .otherwise(accounts::balance + amount);
    let updated = diesel::update(accounts::table)
        .filter(accounts::id.eq_any([from, to]))
        .filter(amount.into_sql::<BigInt>().gt(0))
        .filter(exists(funded))
        .filter(exists(target))
        .set(accounts::balance.eq(changed))
        .execute(conn)?;
    Ok(updated == 2)
}

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

fn url(cluster: &Cluster) -> DatabaseUrl {
    cluster.url().parse().unwrap()
}

/// Creates the accounts 1 to 4 and returns a connection.
fn create_accounts(cluster: &Cluster) -> PgConnection {
    let mut conn = connect(&url(cluster)).unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        conn.batch_execute(sql).unwrap();
    }
    conn
}

fn balances(conn: &mut PgConnection) -> Vec<i64> {
    let balances = accounts::table.select(accounts::balance);
    balances.order(accounts::id).load(conn).unwrap()
}

#[test]
fn threads_share_a_pool_and_the_same_request_transfers_only_once() {
    for cluster in clusters() {
        let mut conn = create_accounts(&cluster);
        let pool = create_pool(url(&cluster)).unwrap();
        std::thread::scope(|scope| {
            for request in 0..10 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut conn = pool.get().unwrap();
                    let op = |txn: &mut PgConnection| transfer_once(txn, request / 2, 1, 2, 1);
                    run_transaction(&mut conn, op).unwrap();
                });
            }
        });
        assert_eq!(balances(&mut conn), [95, 105, 100, 0]);
    }
}

#[test]
fn one_statement_transfers_or_changes_nothing_in_one_round_trip() {
    for cluster in clusters() {
        let mut conn = create_accounts(&cluster);
        let relay = Relay::start(cluster.port()).unwrap();
        let through_relay = cluster.url_through(&relay).parse().unwrap();
        let mut relayed = connect(&through_relay).unwrap();
        // Diesel prepares the statement at its first use.
        assert!(transfer_in_one_statement(&mut relayed, 2, 1, 60).unwrap());
        let before = relay.round_trips();
        assert!(transfer_in_one_statement(&mut relayed, 1, 2, 120).unwrap());
        assert_eq!(relay.round_trips() - before, 1);
        for (from, to, amount) in [(1, 2, 60), (1, 5, 10), (5, 1, 10), (1, 1, 10), (1, 2, -10)] {
            assert!(!transfer_in_one_statement(&mut conn, from, to, amount).unwrap());
        }
        assert_eq!(balances(&mut conn), [40, 160, 100, 0]);
    }
}

#[test]
fn a_new_column_does_not_disturb_a_query_that_names_its_columns() {
    for cluster in clusters() {
        let mut conn = create_accounts(&cluster);
        assert_eq!(balances(&mut conn), [100, 100, 100, 0]);
        let add_column = "ALTER TABLE accounts ADD COLUMN owner TEXT";
        conn.batch_execute(add_column).unwrap();
        assert_eq!(balances(&mut conn), [100, 100, 100, 0]);
    }
}
