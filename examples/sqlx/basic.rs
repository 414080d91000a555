//! Creates two accounts and prints their balances. Each statement commits by itself.
//!
//! `cargo run --example sqlx-basic`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 1 and 2.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_sqlx::connect;
use sqlx::PgPool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let pool = connect(&url).await?;

    create_accounts(&pool).await.map_err(explain_accounts)?;
    print_balances(&pool).await.map_err(explain_accounts)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
async fn create_accounts(pool: &PgPool) -> sqlx::Result<()> {
    let create = "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)";
    sqlx::query(create).execute(pool).await?;
    let insert = "INSERT INTO accounts (id, balance) VALUES (1, 1000), (2, 250)
        ON CONFLICT (id) DO UPDATE SET balance = excluded.balance";
    sqlx::query(insert).execute(pool).await?;
    Ok(())
}

async fn print_balances(pool: &PgPool) -> sqlx::Result<()> {
    let select = "SELECT id, balance FROM accounts WHERE id IN (1, 2) ORDER BY id";
    let rows: Vec<(i64, i64)> = sqlx::query_as(select).fetch_all(pool).await?;
    println!("Initial balances:");
    for (id, balance) in rows {
        println!("['{id}', '{balance}']");
    }
    Ok(())
}
