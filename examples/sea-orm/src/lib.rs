//! CockroachDB with SeaORM: a connection, and transactions that are retried.

#![warn(missing_docs)]

mod connect;
mod transaction;

pub use connect::connect;
pub use crdb_sqlx::{connect_options, pool_options};
pub use transaction::{TransactionError, run_transaction};
