//! A schema with tables of its own: the samples' code runs in it unchanged, and existing tables stay
//! untouched.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use crdb_connection::DatabaseUrl;

use crate::server::Server;

/// The first of the accounts that the slots with workers use, each once: on CockroachDB each update of
/// a row makes its next reads slower, until the old versions are collected.
pub const FIRST_ACCOUNT: i64 = 19;
const BALANCE: i64 = 1_000_000;

/// The number of rows in the table `customers`. Their ids begin with 1.
pub const CUSTOMERS: i64 = 10_000;

/// Returns a row of the table `customers`.
pub fn customer(id: i64) -> (i64, String) {
    (id, format!("customer {id}"))
}

/// Returns a connection string with this schema first on the `search_path`.
pub fn in_schema(url: &DatabaseUrl, schema: &str) -> Result<DatabaseUrl> {
    // The last option wins.
    let options = format!("{} -c search_path={schema}", url.get("options"));
    Ok(url.with("options", options.trim())?)
}

/// The schema. It is dropped on the server with this value.
pub struct Schema {
    pub name: String,
    user_url: DatabaseUrl,
    /// Connects with this schema first on the `search_path`.
    pub url: DatabaseUrl,
    pub server: Server,
}

impl Schema {
    /// Creates the schema, its accounts from 11 to `last_account`, and its customers.
    pub fn create(url: &DatabaseUrl, last_account: i64) -> Result<Schema> {
        // All drivers must use the same node, and sqlx takes no list.
        let (user_url, mut client) = url.first_host(|host| {
            let client = crdb_postgres::connect(&host)?;
            Ok((host, client))
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let name = format!("crdb_compare_{}_{now}", std::process::id());
        let url = in_schema(&user_url, &name)?;
        let server = Server::of(&mut client)?;
        client
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .context("cannot create a schema for the comparison")?;
        let schema = Schema {
            name,
            user_url,
            url,
            server,
        };
        let name = &schema.name;
        let ids = format!("generate_series(11, {last_account})");
        for sql in [
            format!("CREATE TABLE {name}.accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)"),
            format!("INSERT INTO {name}.accounts SELECT {ids}, {BALANCE}"),
            format!("CREATE TABLE {name}.customers (id INT8 PRIMARY KEY, name TEXT NOT NULL)"),
            format!(
                "INSERT INTO {name}.customers
                 SELECT n, 'customer ' || n::TEXT FROM generate_series(1, {CUSTOMERS}) AS n"
            ),
        ] {
            client.batch_execute(&sql)?;
        }
        Ok(schema)
    }

    /// Returns whether the sum of the balances is what it was at the beginning, and none is
    /// negative.
    pub fn is_conserved(&self) -> Result<bool> {
        let mut client = crdb_postgres::connect(&self.url)?;
        let sql = "SELECT sum(balance)::INT8, count(*), min(balance) FROM accounts";
        let row = client.query_one(sql, &[])?;
        let [sum, count, least] = [row.try_get::<_, i64>(0)?, row.try_get(1)?, row.try_get(2)?];
        Ok(sum == BALANCE * count && least >= 0)
    }

    fn drop_all(&self) -> Result<()> {
        let mut client = crdb_postgres::connect(&self.user_url)?;
        Ok(client.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.name))?)
    }
}

/// Drops the schema at the end, after a failure, and after Ctrl-C.
impl Drop for Schema {
    fn drop(&mut self) {
        if self.drop_all().is_err() {
            eprintln!(
                "The schema {0} is left behind. When the server is back: DROP SCHEMA {0} CASCADE",
                self.name
            );
        }
    }
}
