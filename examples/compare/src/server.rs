//! The server that is measured.

use postgres::{Client, Error};
use serde::{Deserialize, Serialize};

/// The server that a connection leads to.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Server {
    pub version: String,
    /// Today, by the server's clock.
    pub date: String,
}

impl Server {
    pub fn of(client: &mut Client) -> Result<Server, Error> {
        let row = client.query_one("SELECT version(), current_date::TEXT", &[])?;
        let (version, date) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Server { version, date })
    }

    /// Returns the product and its version, without the platform.
    pub fn name(&self) -> &str {
        let end = self.version.find(" (").unwrap_or(self.version.len());
        &self.version[..end]
    }
}
