//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! `cargo run --example postgres-transfer`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 3 and 4.

use crdb_connection::DatabaseUrl;
use crdb_postgres::{connect, run_transaction};
use postgres::Client;
use postgres::types::Type;

fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let mut client = connect(&url)?;

    create_accounts(&mut client)?;
    run_transaction(&mut client, |txn| transfer_funds(txn, 3, 4, 100))?;
    print_balances(&mut client)?;

    client.close()?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
fn create_accounts(client: &mut Client) -> Result<(), postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    // `execute_typed` takes one round trip; `execute` takes two, to ask for the parameters' types.
    client.execute_typed(
        "INSERT INTO accounts (id, balance) VALUES ($1, $2), ($3, $4)
         ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
        &[
            (&3_i64, Type::INT8),
            (&1000_i64, Type::INT8),
            (&4_i64, Type::INT8),
            (&250_i64, Type::INT8),
        ],
    )?;
    Ok(())
}

/// Moves `amount` from one account to another. After an error, the transaction must be rolled back.
pub fn transfer_funds(
    txn: &mut Client,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    if amount <= 0 {
        return Err(TransferError::InvalidAmount { amount });
    }
    if from == to {
        return Err(TransferError::SameAccount { account: from });
    }
    let balance: i64 = txn
        .query_typed_opt(
            "SELECT balance FROM accounts WHERE id = $1",
            &[(&from, Type::INT8)],
        )?
        .ok_or(TransferError::NoSuchAccount { account: from })?
        .try_get("balance")?;
    if balance < amount {
        return Err(TransferError::InsufficientFunds {
            account: from,
            balance,
            amount,
        });
    }
    for (account, change) in [(from, -amount), (to, amount)] {
        let updated = txn.execute_typed(
            "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
            &[(&change, Type::INT8), (&account, Type::INT8)],
        )?;
        if updated == 0 {
            return Err(TransferError::NoSuchAccount { account });
        }
    }
    Ok(())
}

fn print_balances(client: &mut Client) -> Result<(), postgres::Error> {
    let rows = client.query_typed(
        "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id",
        &[(&3_i64, Type::INT8), (&4_i64, Type::INT8)],
    )?;
    let mut lines = String::from("Balances after transfer:");
    for row in rows {
        let (id, balance): (i64, i64) = (row.try_get("id")?, row.try_get("balance")?);
        lines += &format!("\n['{id}', '{balance}']");
    }
    println!("{lines}");
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
    #[error("account {account} cannot transfer to itself")]
    SameAccount { account: i64 },
    #[error("the transfer failed in the database")]
    Database(#[from] postgres::Error),
}
