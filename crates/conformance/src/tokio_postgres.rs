//! [`Driver`] for the tokio-postgres samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Error};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
use crate::facts::{BEGIN, COMMIT, Facts, RoundTrips};

const FACTS: Facts = Facts {
    name: "tokio-postgres",
    title: "tokio-postgres",
    crates: &["tokio-postgres", "deadpool-postgres"],
    colours: ["#d9822b", "#f0a65e"],
    remark: "",
    round_trips: RoundTrips {
        connect: 5,
        transfer: 4,
        retry: 8,
    },
    begin: &[BEGIN],
    commit: &[COMMIT],
    has_pool: true,
    waits_for_the_server: false,
    takes_host_list: true,
    trusts_system_roots: false,
    passes_on_sqlstates: true,
};

#[allow(missing_docs)]
#[path = "../../../examples/tokio-postgres/many_rows.rs"]
mod many_rows;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/tokio-postgres/recipes.rs"]
mod recipes;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/tokio-postgres/transfer.rs"]
mod transfer;

asynchronous!(TokioPostgres, FACTS, crdb_tokio_postgres, Pool, &Client);

async fn pool_of_two(url: &DatabaseUrl) -> Result<Pool, AnyError> {
    Ok(crdb_tokio_postgres::pool_builder(url)?
        .max_size(2)
        .build()?)
}

async fn execute(txn: &Client, sql: &str) -> Result<(), Error> {
    txn.batch_execute(sql).await
}

async fn read(txn: &Client, sql: &str) -> Result<Vec<i64>, Error> {
    let rows = txn.query_typed(sql, &[]).await?;
    rows.iter().map(|row| row.try_get("value")).collect()
}
