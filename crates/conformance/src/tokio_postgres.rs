//! [`Driver`] for the tokio-postgres samples.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};
use crdb_tokio_postgres::run_transaction;
use deadpool_postgres::Pool;
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::driver::{AnyError, Driver, Sql, TransactionError};
use crate::runtime::{self, wait_for};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/tokio-postgres/transfer.rs"]
mod transfer;

/// A deadpool pool, and the runtime that its connections run on.
pub struct TokioPostgres {
    /// The runtime that the connections run on.
    pub runtime: Runtime,
    /// The pool.
    pub pool: Pool,
}

impl Driver for TokioPostgres {
    const NAME: &'static str = "tokio-postgres";

    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        let runtime = runtime::start();
        let pool = runtime.block_on(crdb_tokio_postgres::connect(url))?;
        Ok(TokioPostgres { runtime, pool })
    }

    fn transfer(&mut self, from: i64, to: i64, amount: i64) -> Result<u32, TransactionError> {
        let TokioPostgres { runtime, pool } = self;
        let mut runs = 0;
        runtime.block_on(run_transaction(pool, async |txn| {
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
        let TokioPostgres { runtime, pool } = self;
        Ok(runtime.block_on(run_transaction(pool, async |txn| {
            transfer::transfer_funds(txn, from, to, 1).await?;
            let insert = "INSERT INTO ledger (entry) VALUES ($1)";
            txn.execute_typed(insert, &[(&entry, Type::INT8)]).await?;
            Ok::<_, transfer::TransferError>(())
        }))?)
    }

    fn transact<E: Error + Send + Sync + 'static>(
        &mut self,
        mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError> {
        let TokioPostgres { runtime, pool } = self;
        let op = async |txn: &Client| op(&mut Blocking(txn));
        Ok(runtime.block_on(run_transaction(pool, op))?)
    }
}

/// Runs SQL in a transaction and blocks until the answer arrives.
struct Blocking<'a>(&'a Client);

impl Sql for Blocking<'_> {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(wait_for(self.0.batch_execute(sql))?)
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        let rows = wait_for(self.0.query_typed(sql, &[]))?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("value"))
            .collect::<Result<_, _>>()?)
    }
}
