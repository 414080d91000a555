//! [`Driver`] for the SeaORM samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbBackend, DbErr, Statement};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/transfer.rs"]
mod transfer;

from_driver!(crdb_sea_orm, NoConnection);
brief!("sea-orm", NoConnection);
asynchronous!(
    SeaOrm,
    "sea-orm",
    crdb_sea_orm,
    DatabaseConnection,
    &DatabaseTransaction
);

async fn execute(txn: &DatabaseTransaction, sql: &str) -> Result<(), DbErr> {
    txn.execute_unprepared(sql).await?;
    Ok(())
}

async fn read(txn: &DatabaseTransaction, sql: &str) -> Result<Vec<i64>, DbErr> {
    let select = Statement::from_string(DbBackend::Postgres, sql);
    let rows = txn.query_all_raw(select).await?;
    rows.iter().map(|row| row.try_get("", "value")).collect()
}

async fn execute_in(db: &DatabaseConnection, sql: &str) -> Result<(), AnyError> {
    db.execute_unprepared(sql).await?;
    Ok(())
}
