//! [`Driver`] for the sqlx samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use sqlx::{AssertSqlSafe, Error, Executor, PgConnection, PgPool};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
use crate::facts::{BEGIN, Facts, RoundTrips};

const FACTS: Facts = Facts {
    name: "sqlx",
    title: "sqlx",
    crates: &["sqlx"],
    colours: ["#a4508b", "#d68cc0"],
    remark: "sqlx 0.9.0, which SeaORM uses too, does not set TCP_NODELAY (transact-rs/sqlx#4335): on a \
             local server this adds about 40 ms to its time to connect and to some inserts of many rows",
    round_trips: RoundTrips {
        connect: 5,
        transfer: 6,
        retry: 9,
    },
    begin: &[BEGIN],
    commit: COMMIT,
    has_pool: true,
    waits_for_the_server: true,
    takes_host_list: false,
    trusts_system_roots: true,
    passes_on_sqlstates: true,
};

#[allow(missing_docs)]
#[path = "../../../examples/sqlx/many_rows.rs"]
mod many_rows;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sqlx/recipes.rs"]
mod recipes;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sqlx/transfer.rs"]
mod transfer;

asynchronous!(Sqlx, FACTS, crdb_sqlx, PgPool, &mut PgConnection);

pub(crate) async fn pool_of_two(url: &DatabaseUrl) -> Result<PgPool, AnyError> {
    let pool = crdb_sqlx::pool_options(url).max_connections(2);
    Ok(pool.connect_with(crdb_sqlx::connect_options(url)?).await?)
}

async fn execute(txn: &mut PgConnection, sql: &str) -> Result<(), Error> {
    txn.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

async fn read(txn: &mut PgConnection, sql: &str) -> Result<Vec<i64>, Error> {
    let query = sqlx::query_scalar(AssertSqlSafe(sql));
    query.fetch_all(txn).await
}

/// sqlx, which SeaORM uses too, sends a ROLLBACK by itself after the commit.
pub(crate) const COMMIT: &[&str] = &[
    "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN",
    "ROLLBACK",
];
