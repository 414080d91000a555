//! A schema with an `accounts` table of its own: the samples' code runs in it unchanged, and
//! existing tables stay untouched.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use crdb_connection::Config;
use postgres::Client;

use crate::server::Server;

/// The accounts of the transfers. The basic samples add their own.
pub const ACCOUNTS: std::ops::RangeInclusive<i64> = 11..=18;
const BALANCE: i64 = 1_000_000;

/// The schema. It is dropped with this value.
pub struct Schema {
    name: String,
    user_config: Config,
    /// The user's settings with this schema first on the `search_path`.
    pub config: Config,
    /// The server that holds the schema.
    pub server: Server,
    dropped: bool,
}

impl Schema {
    /// Creates the schema and its accounts.
    ///
    /// # Errors
    ///
    /// Returns an error if no connection succeeds, or if the user may not create schemas.
    pub fn create(user_config: &Config) -> Result<Schema> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let name = format!("crdb_compare_{}_{now}", std::process::id());
        let search_path = format!("-c search_path={name}");
        let mut config = user_config.clone();
        config.options = Some(match &user_config.options {
            Some(options) => format!("{options} {search_path}"),
            None => search_path,
        });

        let mut client = crdb_postgres::connect(user_config)?;
        let server = Server::of(&mut client)?;
        client
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .context("cannot create a schema for the comparison")?;
        let schema = Schema {
            name,
            user_config: user_config.clone(),
            config,
            server,
            dropped: false,
        };
        let name = &schema.name;
        let rows: Vec<String> = ACCOUNTS.map(|id| format!("({id}, {BALANCE})")).collect();
        client.batch_execute(&format!(
            "CREATE TABLE {name}.accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)"
        ))?;
        client.batch_execute(&format!(
            "INSERT INTO {name}.accounts VALUES {}",
            rows.join(", ")
        ))?;
        Ok(schema)
    }

    /// Returns whether the sum of the balances is what it was at the beginning, and none is
    /// negative.
    ///
    /// # Errors
    ///
    /// Returns an error if the accounts cannot be read.
    pub fn is_conserved(&self) -> Result<bool> {
        let mut client = crdb_postgres::connect(&self.config)?;
        let sql = "SELECT sum(balance)::INT8, min(balance) FROM accounts WHERE id >= 11";
        let row = client.query_one(sql, &[])?;
        let (sum, least): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(sum == BALANCE * ACCOUNTS.count() as i64 && least >= 0)
    }

    /// Drops the schema.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be reached.
    pub fn drop(mut self) -> Result<()> {
        self.dropped = true;
        self.try_to_drop()
    }

    fn try_to_drop(&self) -> Result<()> {
        let mut client: Client = crdb_postgres::connect(&self.user_config)?;
        Ok(client.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.name))?)
    }
}

/// Drops the schema after a failure or Ctrl-C.
impl Drop for Schema {
    fn drop(&mut self) {
        if !self.dropped && self.try_to_drop().is_err() {
            eprintln!(
                "The schema {0} is left behind. When the server is back: DROP SCHEMA {0} CASCADE",
                self.name
            );
        }
    }
}
