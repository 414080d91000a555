//! [`Driver`] for the `postgres` samples.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};
use crdb_postgres::run_transaction;
use postgres::Client;

use crate::driver::{AnyError, Driver, Sql, TransactionError, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/postgres/transfer.rs"]
mod transfer;

from_driver!(crdb_postgres);

/// A client of the `postgres` crate.
pub struct Postgres(pub Client);

impl Driver for Postgres {
    const NAME: &'static str = "postgres";

    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        crdb_postgres::connect(url).map(Postgres)
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

impl Sql for Client {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.batch_execute(sql)?)
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        let rows = self.query_typed(sql, &[])?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("value"))
            .collect::<Result<_, _>>()?)
    }
}
