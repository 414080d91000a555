//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! `cargo run --example diesel-transfer`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 3 and 4.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_diesel::{connect, run_transaction};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::upsert::excluded;

diesel::table! {
    accounts (id) {
        id -> BigInt,
        balance -> BigInt,
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts)]
struct Account {
    id: i64,
    balance: i64,
}

fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let mut conn = connect(&url)?;

    create_accounts(&mut conn).map_err(explain_accounts)?;
    run_transaction(&mut conn, |txn| transfer_funds(txn, 3, 4, 100)).map_err(explain_accounts)?;
    print_balances(&mut conn)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
fn create_accounts(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    let rows = [(3, 1000), (4, 250)].map(|(id, balance)| Account { id, balance });
    diesel::insert_into(accounts::table)
        .values(rows)
        .on_conflict(accounts::id)
        .do_update()
        .set(accounts::balance.eq(excluded(accounts::balance)))
        .execute(conn)?;
    Ok(())
}

/// Moves `amount` from one account to another. After an error, the transaction must be rolled back.
pub fn transfer_funds(
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
    let rows = accounts::table
        .filter(accounts::id.eq_any([from, to]))
        .order(accounts::id)
        .select(Account::as_select())
        .for_update()
        .load(txn)?;
    let balance_of = |account| match rows.iter().find(|row| row.id == account) {
        Some(row) => Ok(row.balance),
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
        diesel::update(accounts::table.find(account))
            .set(accounts::balance.eq(accounts::balance + change))
            .execute(txn)?;
    }
    Ok(())
}

fn print_balances(conn: &mut PgConnection) -> QueryResult<()> {
    let rows = accounts::table
        .filter(accounts::id.eq_any([3, 4]))
        .order(accounts::id)
        .select(Account::as_select())
        .load(conn)?;
    for Account { id, balance } in rows {
        println!("{id} {balance}");
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
    Database(#[from] diesel::result::Error),
}
