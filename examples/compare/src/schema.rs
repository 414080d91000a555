//! A schema of our own: the samples' code runs in it unchanged, and nobody's `accounts` are touched.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use crdb_connection::Config;
use postgres::Client;

/// The accounts that are measured with, besides those of the basic samples.
pub const ACCOUNTS: std::ops::RangeInclusive<i64> = 11..=18;
const BALANCE: i64 = 1_000_000;

/// Exists as long as this does.
pub struct Schema {
    name: String,
    plain: Config,
    /// The person's settings, with this schema first on the `search_path`.
    pub config: Config,
    /// What `SELECT version()` says.
    pub server: String,
    dropped: bool,
}

impl Schema {
    /// Creates it, with accounts in it.
    ///
    /// # Errors
    ///
    /// There is no connection, or the user may not create schemas.
    pub fn create(plain: &Config) -> Result<Schema> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let name = format!("crdb_compare_{}_{now}", std::process::id());
        let mut config = plain.clone();
        let own = format!("-c search_path={name}");
        config.options = Some(
            plain
                .options
                .iter()
                .chain([&own])
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
        );

        let mut client = crdb_postgres::connect(plain)?;
        let server = client.query_one("SELECT version()", &[])?.try_get(0)?;
        client
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .context("cannot create a schema for the measuring")?;
        let schema = Schema {
            name,
            plain: plain.clone(),
            config,
            server,
            dropped: false,
        };
        let name = &schema.name;
        client.batch_execute(&format!(
            "CREATE TABLE {name}.accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)"
        ))?;
        for id in ACCOUNTS {
            client.batch_execute(&format!(
                "INSERT INTO {name}.accounts VALUES ({id}, {BALANCE})"
            ))?;
        }
        Ok(schema)
    }

    /// Whether the accounts hold together what they held at the beginning.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn is_conserved(&self) -> Result<bool> {
        let sql = "SELECT sum(balance)::INT8, min(balance) FROM accounts WHERE id >= 11";
        let row = self.client()?.query_one(sql, &[])?;
        let (sum, least): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(sum == BALANCE * ACCOUNTS.count() as i64 && least >= 0)
    }

    /// A connection for ourselves, in this schema.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub fn client(&self) -> Result<Client> {
        Ok(crdb_postgres::connect(&self.config)?)
    }

    /// Drops it.
    ///
    /// # Errors
    ///
    /// The database is gone.
    pub fn drop(mut self) -> Result<()> {
        self.dropped = true;
        self.try_to_drop()
    }

    fn try_to_drop(&self) -> Result<()> {
        let mut client = crdb_postgres::connect(&self.plain)?;
        Ok(client.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.name))?)
    }
}

/// When measuring failed, or was stopped.
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
