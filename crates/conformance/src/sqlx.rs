//! [`Driver`] for the sqlx samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use sqlx::{AssertSqlSafe, Error, Executor, PgConnection, PgPool};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sqlx/transfer.rs"]
mod transfer;

from_driver!(crdb_sqlx, NoConnection);
brief!("sqlx", NoConnection);
asynchronous!(Sqlx, "sqlx", crdb_sqlx, PgPool, &mut PgConnection);

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
