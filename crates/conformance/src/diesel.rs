//! [`Driver`] for the Diesel samples.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};
use crdb_diesel::run_transaction;
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{PgConnection, QueryableByName, RunQueryDsl, sql_query};

use crate::driver::{AnyError, Driver, Sql, TransactionError, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/diesel/transfer.rs"]
mod transfer;

from_driver!(crdb_diesel);

/// A Diesel connection.
pub struct Diesel(pub PgConnection);

impl Driver for Diesel {
    const NAME: &'static str = "diesel";

    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        crdb_diesel::connect(url).map(Diesel)
    }

    fn transfer_with_entry(
        &mut self,
        entry: Option<i64>,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<u32, TransactionError> {
        let mut runs = 0;
        run_transaction(&mut self.0, |txn| {
            runs += 1;
            transfer::transfer_funds(txn, from, to, amount)?;
            if let Some(entry) = entry {
                txn.batch_execute(&insert_entry(entry))?;
            }
            Ok::<_, transfer::TransferError>(())
        })?;
        Ok(runs)
    }

    fn transact<E: Error + Send + Sync + 'static>(
        &mut self,
        mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError> {
        Ok(run_transaction(&mut self.0, |txn| op(txn))?)
    }
}

impl Sql for PgConnection {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.batch_execute(sql)?)
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        let rows = sql_query(sql).load::<Row>(self)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }
}
