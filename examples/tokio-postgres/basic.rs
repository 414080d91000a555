//! Creates two accounts and prints their balances. Each statement commits by itself.
//!
//! `cargo run --example tokio-postgres-basic`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 1 and 2.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_tokio_postgres::connect;
use deadpool_postgres::Pool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let pool = connect(&url).await?;

    create_accounts(&pool).await.map_err(explain_accounts)?;
    print_balances(&pool).await.map_err(explain_accounts)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
async fn create_accounts(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let create = "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)";
    client.batch_execute(create).await?;
    let insert = "INSERT INTO accounts (id, balance) VALUES (1, 1000), (2, 250)
        ON CONFLICT (id) DO UPDATE SET balance = excluded.balance";
    client.batch_execute(insert).await?;
    Ok(())
}

async fn print_balances(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    // `query_typed` takes one round trip; `query` takes two.
    let rows = client
        .query_typed(
            "SELECT id, balance FROM accounts WHERE id IN (1, 2) ORDER BY id",
            &[],
        )
        .await?;
    println!("Initial balances:");
    for row in rows {
        let (id, balance): (i64, i64) = (row.try_get("id")?, row.try_get("balance")?);
        println!("['{id}', '{balance}']");
    }
    Ok(())
}
