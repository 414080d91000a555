//! [`Driver`] for the `postgres` samples.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};
use crdb_postgres::run_transaction;
use postgres::Client;
use postgres::types::Type;

use crate::driver::{AnyError, Driver, Sql, TransactionError};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/postgres/transfer.rs"]
mod transfer;

/// A client of the `postgres` crate.
pub struct Postgres(pub Client);

impl Driver for Postgres {
    const NAME: &'static str = "postgres";

    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        crdb_postgres::connect(url).map(Postgres)
    }

    fn transfer(&mut self, from: i64, to: i64, amount: i64) -> Result<u32, TransactionError> {
        let mut runs = 0;
        run_transaction(&mut self.0, |txn| {
            runs += 1;
            transfer::transfer_funds(txn, from, to, amount)
        })?;
        Ok(runs)
    }

    fn transfer_with_entry(
        &mut self,
        entry: i64,
        from: i64,
        to: i64,
    ) -> Result<(), TransactionError> {
        Ok(run_transaction(&mut self.0, |txn| {
            transfer::transfer_funds(txn, from, to, 1)?;
            txn.execute_typed(
                "INSERT INTO ledger (entry) VALUES ($1)",
                &[(&entry, Type::INT8)],
            )?;
            Ok::<_, transfer::TransferError>(())
        })?)
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
