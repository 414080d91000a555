//! [`Driver`] for the SeaORM samples.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};
use crdb_sea_orm::run_transaction;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement};
use tokio::runtime::Runtime;

use crate::driver::{AnyError, Driver, Sql, TransactionError};
use crate::runtime::{self, wait_for};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/transfer.rs"]
mod transfer;

/// A SeaORM pool, and the runtime that its connections run on.
pub struct SeaOrm {
    /// The runtime that the connections run on.
    pub runtime: Runtime,
    /// The pool.
    pub db: DatabaseConnection,
}

impl Driver for SeaOrm {
    const NAME: &'static str = "sea-orm";

    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        let runtime = runtime::start();
        let db = runtime.block_on(crdb_sea_orm::connect(url))?;
        Ok(SeaOrm { runtime, db })
    }

    fn transfer(&mut self, from: i64, to: i64, amount: i64) -> Result<u32, TransactionError> {
        let SeaOrm { runtime, db } = self;
        let mut runs = 0;
        runtime.block_on(run_transaction(db, async |txn| {
            runs += 1;
            transfer::transfer_funds(txn, from, to, amount).await
        }))?;
        Ok(runs)
    }

    fn transfer_with_entry(
        &mut self,
        entry: i64,
        from: i64,
        to: i64,
    ) -> Result<(), TransactionError> {
        let SeaOrm { runtime, db } = self;
        Ok(runtime.block_on(run_transaction(db, async |txn| {
            transfer::transfer_funds(txn, from, to, 1).await?;
            let insert = "INSERT INTO ledger (entry) VALUES ($1)";
            txn.execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                insert,
                [entry.into()],
            ))
            .await?;
            Ok::<_, transfer::TransferError>(())
        }))?)
    }

    fn transact<E: Error + Send + Sync + 'static>(
        &mut self,
        mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError> {
        let SeaOrm { runtime, db } = self;
        let op = async |txn: &DatabaseTransaction| op(&mut Blocking(txn));
        Ok(runtime.block_on(run_transaction(db, op))?)
    }
}

/// Runs SQL in a transaction and blocks until the answer arrives.
struct Blocking<'a>(&'a DatabaseTransaction);

impl Sql for Blocking<'_> {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        wait_for(self.0.execute_unprepared(sql))?;
        Ok(())
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        let rows = wait_for(
            self.0
                .query_all_raw(Statement::from_string(DbBackend::Postgres, sql)),
        )?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("", "value"))
            .collect::<Result<_, _>>()?)
    }
}
