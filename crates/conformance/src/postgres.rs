//! [`Driver`] for the `postgres` samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use postgres::Client;

use crate::blocking::blocking;
use crate::driver::{AnyError, Driver, Sql, TransactionError, brief, from_driver, insert_entry};

#[allow(dead_code, missing_docs)]
#[path = "../../../examples/postgres/transfer.rs"]
mod transfer;

from_driver!(crdb_postgres);
brief!("postgres");
blocking!(Postgres, "postgres", crdb_postgres, Client);

impl Sql for Client {
    fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.batch_execute(sql)?)
    }

    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
        let rows = self.query_typed(sql, &[])?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("value"))
            .collect::<Result<_, _>>()?)
    }
}
