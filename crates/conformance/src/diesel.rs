//! [`Driver`] for the Diesel samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{PgConnection, QueryableByName, RunQueryDsl, sql_query};

use crate::blocking::blocking;
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/diesel/transfer.rs"]
mod transfer;

from_driver!(crdb_diesel);
brief!("diesel");
blocking!(Diesel, "diesel", crdb_diesel, PgConnection);

impl Sql for PgConnection {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.batch_execute(sql)?)
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        let rows = sql_query(sql).load::<Row>(self)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }
}
