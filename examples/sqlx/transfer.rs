//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! `cargo run --example sqlx-transfer`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 3 and 4.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_sqlx::{connect, run_transaction};
use sqlx::{PgConnection, PgPool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let pool = connect(&url).await?;

    create_accounts(&pool).await.map_err(explain_accounts)?;
    run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await)
        .await
        .map_err(explain_accounts)?;
    print_balances(&pool).await?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
async fn create_accounts(pool: &PgPool) -> sqlx::Result<()> {
    let create = "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)";
    sqlx::query(create).execute(pool).await?;
    let insert = "INSERT INTO accounts (id, balance) VALUES (3, 1000), (4, 250)
        ON CONFLICT (id) DO UPDATE SET balance = excluded.balance";
    sqlx::query(insert).execute(pool).await?;
    Ok(())
}

/// Moves `amount` from one account to another. After an error, the transaction must be rolled back.
pub async fn transfer_funds(
    txn: &mut PgConnection,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    if amount <= 0 {
        return Err(TransferError::InvalidAmount { amount });
    }
    // FOR UPDATE locks both accounts: another transfer that touches one of them waits here instead of
    // failing. The order of the ids prevents deadlocks.
    let select = "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE";
    let select = sqlx::query_as(select).bind(from).bind(to);
    let rows: Vec<(i64, i64)> = select.fetch_all(&mut *txn).await?;
    let balance_of = |account| match rows.iter().find(|(id, _)| *id == account) {
        Some((_, balance)) => Ok(*balance),
        None => Err(TransferError::NoSuchAccount { account }),
    };
    let balance = balance_of(from)?;
    balance_of(to)?;
    if balance < amount {
        return Err(TransferError::InsufficientFunds {
            account: from,
            balance,
            amount,
        });
    }
    for (account, change) in [(from, -amount), (to, amount)] {
        let update = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
        let update = sqlx::query(update).bind(change).bind(account);
        update.execute(&mut *txn).await?;
    }
    Ok(())
}

async fn print_balances(pool: &PgPool) -> sqlx::Result<()> {
    let select = "SELECT id, balance FROM accounts WHERE id IN (3, 4) ORDER BY id";
    let rows: Vec<(i64, i64)> = sqlx::query_as(select).fetch_all(pool).await?;
    println!("Balances after transfer:");
    for (id, balance) in rows {
        println!("['{id}', '{balance}']");
    }
    Ok(())
}

/// The reason why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("account {account} holds {balance}, which is not enough to transfer {amount}")]
    InsufficientFunds {
        account: i64,
        balance: i64,
        amount: i64,
    },
    #[error("there is no account {account}")]
    NoSuchAccount { account: i64 },
    #[error("an amount to transfer must be positive, and {amount} is not")]
    InvalidAmount { amount: i64 },
    #[error("the transfer failed in the database")]
    Database(#[from] sqlx::Error),
}
