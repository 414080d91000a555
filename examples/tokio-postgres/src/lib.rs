//! CockroachDB with tokio-postgres: a pool, and transactions that are retried.

#![warn(missing_docs)]

mod connect;
mod transaction;

pub use connect::{connect, pool_builder, pool_builder_with_lifetime};
pub use transaction::{TransactionError, run_transaction};
