//! The SeaORM samples.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use crdb_connection::{Config, ConnectError};
use crdb_sea_orm::{run_transaction, run_transaction_with};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::block_in_place;

use crate::{AnyError, Driver, Failed, First, Sql};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/basic.rs"]
mod basic;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/transfer.rs"]
mod sample;

/// A connection pool of SeaORM's, with what runs its futures.
pub struct SeaOrm {
    /// The runtime that the connections live on.
    pub runtime: Runtime,
    /// The pool.
    pub db: DatabaseConnection,
}

impl Driver for SeaOrm {
    const NAME: &'static str = "sea-orm";

    fn connect(config: &Config) -> Result<Self, ConnectError> {
        // With a thread of its own for the network, an `op` that is not asynchronous may wait for it.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a thread can be started");
        let db = runtime.block_on(crdb_sea_orm::connect(config))?;
        Ok(SeaOrm { runtime, db })
    }

    fn basic(&mut self) -> Result<(), AnyError> {
        self.runtime.block_on(async {
            basic::write_accounts(&self.db).await?;
            basic::read_accounts(&self.db).await?;
            Ok(())
        })
    }

    fn transfer_after(
        &mut self,
        first: First,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<u32, Failed> {
        let SeaOrm { runtime, db } = self;
        let mut runs = 0;
        runtime.block_on(run_transaction(db, async |txn| {
            runs += 1;
            first(runs, &mut Blocking(txn));
            sample::transfer_funds(txn, from, to, amount).await
        }))?;
        Ok(runs)
    }

    fn transfer_with_entry(&mut self, entry: i64, from: i64, to: i64) -> Result<(), Failed> {
        let SeaOrm { runtime, db } = self;
        Ok(runtime.block_on(run_transaction(db, async |txn| {
            sample::transfer_funds(txn, from, to, 1).await?;
            let insert = "INSERT INTO ledger (entry) VALUES ($1)";
            txn.execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                insert,
                [entry.into()],
            ))
            .await?;
            Ok::<_, sample::TransferError>(())
        }))?)
    }

    fn transact<E>(
        &mut self,
        pauses: Vec<Duration>,
        mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), Failed>
    where
        E: Error + Send + Sync + 'static,
    {
        let SeaOrm { runtime, db } = self;
        Ok(
            runtime.block_on(run_transaction_with(pauses.into_iter(), db, async |txn| {
                op(&mut Blocking(txn))
            }))?,
        )
    }

    fn default_pauses() -> Vec<Duration> {
        crdb_sea_orm::default_pauses().collect()
    }
}

/// A transaction for callers that are not asynchronous.
struct Blocking<'a>(&'a DatabaseTransaction);

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}

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
