//! [`Driver`] for the tokio-postgres samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Error};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};
use crate::facts::{BEGIN, COMMIT, Facts, RoundTrips, WORDS, Words};

const FACTS: Facts = Facts {
    name: "tokio-postgres",
    title: "tokio-postgres",
    crates: &["tokio-postgres", "deadpool-postgres"],
    colours: ["#d9822b", "#f0a65e"],
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
    limits_scram_iterations: true,
    passes_on_sqlstates: true,
    words: Words {
        no_answer: "Timeout occurred",
        ..WORDS
    },
    own_code: &[
        ("tokio_postgres::Error", "DriverError"),
        (
            "    /// The pool has no connection; `op` did not run.
    #[error(\"there is no connection\")]
    NoConnection(#[source] PoolError),
",
            "",
        ),
    ],
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

from_driver!(crdb_tokio_postgres, NoConnection);
brief!("tokio-postgres", NoConnection);
asynchronous!(TokioPostgres, FACTS, crdb_tokio_postgres, Pool, &Client);

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
