//! The recipe that the common page shows for postgres.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::transfer::{TransferError, transfer_funds};

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
