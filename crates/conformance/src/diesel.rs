//! [`Driver`] for the Diesel samples.

use crdb_connection::{ConnectError, DatabaseUrl};
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{PgConnection, QueryableByName, RunQueryDsl, sql_query};

use crate::blocking::blocking;
use crate::driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
use crate::facts::{BEGIN, COMMIT, Facts, RoundTrips};

const FACTS: Facts = Facts {
    name: "diesel",
    title: "Diesel",
    crates: &["diesel", "pq-src"],
    colours: ["#2e8f5b", "#62c48e"],
    remark: "",
    round_trips: RoundTrips {
        connect: 7,
        transfer: 5,
        retry: 8,
    },
    begin: &[BEGIN],
    commit: &[COMMIT],
    has_pool: false,
    waits_for_the_server: false,
    takes_host_list: true,
    trusts_system_roots: false,
    passes_on_sqlstates: false,
};

#[allow(missing_docs)]
#[path = "../../../examples/diesel/many_rows.rs"]
mod many_rows;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/diesel/recipes.rs"]
mod recipes;
#[allow(dead_code, missing_docs)]
#[path = "../../../examples/diesel/transfer.rs"]
mod transfer;

blocking!(Diesel, FACTS, crdb_diesel, PgConnection);

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
