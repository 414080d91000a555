//! The listings of README.md.

use std::io;
use std::time::Duration;

use crdb_connection::DatabaseUrl;
use crdb_diesel::connect;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use r2d2::{ManageConnection, Pool};

use super::transfer::{TransferError, transfer_funds};

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
pub fn transfer_once(
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
pub struct Manager(DatabaseUrl);

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
pub fn create_pool(url: DatabaseUrl) -> anyhow::Result<Pool<Manager>> {
    connect(&url)?;
    let pool = Pool::builder()
        .max_size(4)
        .min_idle(Some(1))
        .max_lifetime(Some(Duration::from_secs(5 * 60)))
        .build(Manager(url))?;
    Ok(pool)
}
