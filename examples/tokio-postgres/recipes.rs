//! The listings of README.md.

use crdb_tokio_postgres::{TransactionError, run_transaction};
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::transfer::{TransferError, transfer_funds};

/// Describes the outcome of a transfer.
pub fn describe(result: Result<(), TransactionError<TransferError>>) -> String {
    match result {
        Ok(()) => "transferred".to_owned(),
        Err(TransactionError::Operation(TransferError::InsufficientFunds { balance, .. })) => {
            format!("refused: the account holds {balance}")
        }
        Err(TransactionError::AmbiguousCommit(error)) => format!("unknown: {error}"),
        Err(error) => format!("not transferred: {error}"),
    }
}

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
pub async fn transfer_once(
    txn: &Client,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    match txn.execute_typed(sql, &[(&request, Type::INT8)]).await? {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}

/// The state that all requests share. All clones share one pool.
#[derive(Clone)]
pub struct Service {
    pub pool: Pool,
}

impl Service {
    /// Handles one request, on one connection of the pool.
    pub async fn transfer(&self, from: i64, to: i64, amount: i64) -> String {
        let op = async move |txn: &Client| transfer_funds(txn, from, to, amount).await;
        describe(run_transaction(&self.pool, op).await)
    }
}
