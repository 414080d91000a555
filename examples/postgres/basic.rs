//! Writes two accounts and reads them back; each statement commits by itself.
//!
//! Creates the table `accounts` where it is not there yet, and writes its rows 1 and 2.

use crdb_connection::Config;
use crdb_postgres::connect;
use postgres::Client;
use postgres::types::Type;

fn main() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    let mut client = connect(&config)?;

    write_accounts(&mut client)?;
    let accounts = read_accounts(&mut client)?;
    println!("Initial balances:");
    for (id, balance) in accounts {
        println!("['{id}', '{balance}']");
    }

    client.close()?;
    Ok(())
}

/// ON CONFLICT lets the sample run again: the rows are set back instead of being refused.
pub fn write_accounts(client: &mut Client) -> Result<(), postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    for (id, balance) in [(1_i64, 1000_i64), (2, 250)] {
        client.execute_typed(
            "INSERT INTO accounts (id, balance) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
            &[(&id, Type::INT8), (&balance, Type::INT8)],
        )?;
    }
    Ok(())
}

/// The two rows of this sample, in the order of their ids.
pub fn read_accounts(client: &mut Client) -> Result<Vec<(i64, i64)>, postgres::Error> {
    let rows = client.query_typed(
        "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id",
        &[(&1_i64, Type::INT8), (&2_i64, Type::INT8)],
    )?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("balance")?)))
        .collect()
}
