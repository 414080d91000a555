//! [`Driver`] for the `postgres` samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use postgres::Client;

use crate::blocking::blocking;
use crate::driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
use crate::facts::{BEGIN, COMMIT, Facts, RoundTrips};

const FACTS: Facts = Facts {
    name: "postgres",
    title: "postgres",
    crates: &["postgres", "tokio-postgres"],
    colours: ["#2a6fdb", "#6ea3f5"],
    remark: "",
    round_trips: RoundTrips {
        connect: 5,
        transfer: 5,
        retry: 8,
    },
    begin: &[BEGIN],
    commit: &[COMMIT],
    has_pool: false,
    waits_for_the_server: false,
    takes_host_list: true,
    trusts_system_roots: false,
    passes_on_sqlstates: true,
};

#[allow(missing_docs)]
#[path = "../../../examples/postgres/many_rows.rs"]
mod many_rows;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/postgres/recipes.rs"]
mod recipes;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/postgres/transfer.rs"]
mod transfer;

blocking!(Postgres, FACTS, crdb_postgres, Client);

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
