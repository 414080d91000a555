//! CockroachDB with sqlx: a pool, and transactions that are retried.

#![warn(missing_docs)]

mod connect;
mod transaction;

pub use connect::connect;
pub use transaction::{TransactionError, run_transaction};
