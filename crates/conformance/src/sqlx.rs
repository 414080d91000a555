//! [`Driver`] for the sqlx samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use sqlx::{AssertSqlSafe, Error, Executor, PgConnection, PgPool};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};
use crate::facts::{BEGIN, Facts, RoundTrips, WORDS, Words};

const FACTS: Facts = Facts {
    name: "sqlx",
    title: "sqlx",
    crates: &["sqlx"],
    colours: ["#a4508b", "#d68cc0"],
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
    limits_scram_iterations: false,
    passes_on_sqlstates: true,
    words: PASSWORD_WORDS,
    own_code: OWN_CODE,
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

from_driver!(crdb_sqlx, NoConnection);
brief!("sqlx", NoConnection);
asynchronous!(Sqlx, FACTS, crdb_sqlx, PgPool, &mut PgConnection);

async fn execute(txn: &mut PgConnection, sql: &str) -> Result<(), Error> {
    txn.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

async fn read(txn: &mut PgConnection, sql: &str) -> Result<Vec<i64>, Error> {
    let query = sqlx::query_scalar(AssertSqlSafe(sql));
    query.fetch_all(txn).await
}

async fn execute_in(pool: &PgPool, sql: &str) -> Result<(), AnyError> {
    pool.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// sqlx, which SeaORM uses too, sends a ROLLBACK by itself after the commit.
pub(crate) const COMMIT: &[&str] = &[
    "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN",
    "ROLLBACK",
];

/// sqlx, which SeaORM uses too, sends an empty password.
pub(crate) const PASSWORD_WORDS: Words = Words {
    no_password: "password authentication failed for user",
    ..WORDS
};

/// sqlx's own ROLLBACK ends a transaction that fails, so the loop ends with `break`.
pub(crate) const OWN_CODE: &[(&str, &str)] = &[
    ("sqlx::Error", "DriverError"),
    ("DbErr", "DriverError"),
    ("roll_back(&mut txn, ", "txn.send("),
    ("roll_back(&txn, ", "txn.send("),
    ("txn.execute(", "txn.send("),
    ("txn.execute_unprepared(", "txn.send("),
    (
        "    /// The pool has no connection; `op` did not run.
    #[error(\"there is no connection\")]
    NoConnection(#[source] DriverError),
",
        "",
    ),
    (
        "        // At the end, sqlx's own ROLLBACK follows.
        let anew = again && !in_place;
",
        "",
    ),
    (
        "if anew { ROLLBACK } else { RESTART }",
        "if in_place { RESTART } else { ROLLBACK }",
    ),
    (
        "break (AmbiguousCommit(answer), false)",
        "return Err(AmbiguousCommit(answer))",
    ),
    ("break (error, answer.is_ok())", "return Err(error)"),
    ("break (error, false)", "return Err(error)"),
];
