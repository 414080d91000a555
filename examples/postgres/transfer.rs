//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! `cargo run --example postgres-transfer`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 3 and 4.

use std::collections::HashMap;

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_postgres::{connect, run_transaction};
use postgres::Client;
use postgres::types::Type;

fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let mut client = connect(&url)?;

    create_accounts(&mut client).map_err(explain_accounts)?;
    run_transaction(&mut client, |txn| transfer_funds(txn, 3, 4, 100)).map_err(explain_accounts)?;
    print_balances(&mut client)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
fn create_accounts(client: &mut Client) -> Result<(), postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    client.batch_execute(
        "INSERT INTO accounts (id, balance) VALUES (3, 1000), (4, 250)
         ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
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
    // FOR UPDATE locks both accounts: another transfer that touches one of them waits here instead of
    // failing. The order of the ids prevents deadlocks.
    let rows = txn.query_typed(
        "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE",
        &[(&from, Type::INT8), (&to, Type::INT8)],
    )?;
    let mut balances = HashMap::new();
    for row in rows {
        let (id, balance): (i64, i64) = (row.try_get("id")?, row.try_get("balance")?);
        balances.insert(id, balance);
    }
    let balance_of = |account| match balances.get(&account) {
        Some(balance) => Ok(*balance),
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
        txn.execute_typed(
            "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
            &[(&change, Type::INT8), (&account, Type::INT8)],
        )?;
    }
    Ok(())
}

fn print_balances(client: &mut Client) -> Result<(), postgres::Error> {
    // `query_typed` takes one round trip; `query` takes two.
    let rows = client.query_typed(
        "SELECT id, balance FROM accounts WHERE id IN (3, 4) ORDER BY id",
        &[],
    )?;
    println!("Balances after transfer:");
    for row in rows {
        let (id, balance): (i64, i64) = (row.try_get("id")?, row.try_get("balance")?);
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
    Database(#[from] postgres::Error),
}
