//! CockroachDB with sqlx: a pool, and transactions that are retried.

#![warn(missing_docs)]

mod connect;
mod transaction;

pub use connect::{connect, connect_options, pool_options};
pub use transaction::{TransactionError, run_transaction};
