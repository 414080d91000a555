//! Creates two accounts and prints their balances. Each statement commits by itself.
//!
//! `cargo run --example postgres-basic`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 1 and 2.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_postgres::connect;
use postgres::Client;

fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let mut client = connect(&url)?;

    create_accounts(&mut client).map_err(explain_accounts)?;
    print_balances(&mut client).map_err(explain_accounts)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
fn create_accounts(client: &mut Client) -> Result<(), postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    client.batch_execute(
        "INSERT INTO accounts (id, balance) VALUES (1, 1000), (2, 250)
         ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
    )?;
    Ok(())
}

fn print_balances(client: &mut Client) -> Result<(), postgres::Error> {
    // `query_typed` takes one round trip; `query` takes two.
    let rows = client.query_typed(
        "SELECT id, balance FROM accounts WHERE id IN (1, 2) ORDER BY id",
        &[],
    )?;
    println!("Initial balances:");
    for row in rows {
        let (id, balance): (i64, i64) = (row.try_get("id")?, row.try_get("balance")?);
        println!("['{id}', '{balance}']");
    }
    Ok(())
}
