//! [`Driver`] for the SeaORM samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbBackend, DbErr, Statement};

use crate::asynchronous::{Asynchronous, asynchronous};
use crate::driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
use crate::facts::{Facts, RoundTrips};
use crate::sqlx::COMMIT;

const FACTS: Facts = Facts {
    name: "sea-orm",
    title: "SeaORM",
    crates: &["sea-orm", "sqlx"],
    colours: ["#8a8f1a", "#c3c95a"],
    remark: "",
    round_trips: RoundTrips {
        connect: 5,
        transfer: 7,
        retry: 10,
    },
    begin: &[
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart",
    ],
    commit: COMMIT,
    has_pool: true,
    waits_for_the_server: true,
    takes_host_list: false,
    trusts_system_roots: true,
    passes_on_sqlstates: true,
};

#[allow(missing_docs)]
#[path = "../../../examples/sea-orm/many_rows.rs"]
mod many_rows;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/recipes.rs"]
mod recipes;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/sea-orm/transfer.rs"]
mod transfer;

asynchronous!(
    SeaOrm,
    FACTS,
    crdb_sea_orm,
    DatabaseConnection,
    &DatabaseTransaction
);

async fn pool_of_two(url: &DatabaseUrl) -> Result<DatabaseConnection, AnyError> {
    Ok(crate::sqlx::pool_of_two(url).await?.into())
}

async fn execute(txn: &DatabaseTransaction, sql: &str) -> Result<(), DbErr> {
    txn.execute_unprepared(sql).await?;
    Ok(())
}

async fn read(txn: &DatabaseTransaction, sql: &str) -> Result<Vec<i64>, DbErr> {
    let select = Statement::from_string(DbBackend::Postgres, sql);
    let rows = txn.query_all_raw(select).await?;
    rows.iter().map(|row| row.try_get("", "value")).collect()
}
