//! The recipe that the common page shows for postgres.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use super::transfer::{TransferError, transfer_funds};

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
pub async fn transfer_once(
    txn: &DatabaseTransaction,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    let insert = Statement::from_sql_and_values(DbBackend::Postgres, sql, [request.into()]);
    match txn.execute_raw(insert).await?.rows_affected() {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}
