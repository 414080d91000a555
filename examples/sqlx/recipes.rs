//! The listings of README.md.

use crdb_connection::DatabaseUrl;
use crdb_sqlx::connect_options;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;

use super::transfer::{TransferError, transfer_funds};

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
pub async fn transfer_once(
    txn: &mut PgConnection,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(sql).bind(request).execute(&mut *txn).await?;
    match insert.rows_affected() {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount).await,
    }
}

/// Returns the options of the first host of a list that accepts a connection.
pub async fn first_host(url: &DatabaseUrl) -> anyhow::Result<PgConnectOptions> {
    for host in url.each_host() {
        let options = connect_options(&host)?;
        let attempt = PgConnection::connect_with(&options);
        if let Ok(Ok(_)) = timeout(host.connect_timeout(), attempt).await {
            return Ok(options);
        }
    }
    anyhow::bail!("no host accepts a connection")
}

/// Transfers in one SQL statement. Returns false if nothing was transferred.
pub async fn transfer_in_one_statement(
    pool: &PgPool,
    from: i64,
    to: i64,
    amount: i64,
) -> sqlx::Result<bool> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let update = sqlx::query(sql).bind(from).bind(to).bind(amount);
    Ok(update.execute(pool).await?.rows_affected() == 2)
}
