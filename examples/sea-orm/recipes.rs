//! The listings of README.md.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
};

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

/// Transfers in one SQL statement. Returns false if nothing was transferred.
pub async fn transfer_in_one_statement(
    db: &DatabaseConnection,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<bool, DbErr> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let values = [from.into(), to.into(), amount.into()];
    let update = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(db.execute_raw(update).await?.rows_affected() == 2)
}
