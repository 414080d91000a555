//! [`Driver`] for the tokio-postgres samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Error};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/tokio-postgres/transfer.rs"]
mod transfer;

from_driver!(crdb_tokio_postgres, NoConnection);
brief!("tokio-postgres", NoConnection);
asynchronous!(
    TokioPostgres,
    "tokio-postgres",
    crdb_tokio_postgres,
    Pool,
    &Client
);

async fn execute(txn: &Client, sql: &str) -> Result<(), Error> {
    txn.batch_execute(sql).await
}

async fn read(txn: &Client, sql: &str) -> Result<Vec<i64>, Error> {
    let rows = txn.query_typed(sql, &[]).await?;
    rows.iter().map(|row| row.try_get("value")).collect()
}

async fn execute_in(pool: &Pool, sql: &str) -> Result<(), AnyError> {
    Ok(pool.get().await?.batch_execute(sql).await?)
}
