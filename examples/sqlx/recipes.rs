//! The listings of README.md.

use crdb_connection::DatabaseUrl;
use crdb_sqlx::connect_options;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
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
