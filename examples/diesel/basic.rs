//! Creates two accounts and prints their balances. Each statement commits by itself.
//!
//! `cargo run --example diesel-basic`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 1 and 2.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_diesel::connect;
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
    print_balances(&mut conn).map_err(explain_accounts)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
fn create_accounts(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    let rows = [(1, 1000), (2, 250)].map(|(id, balance)| Account { id, balance });
    diesel::insert_into(accounts::table)
        .values(rows)
        .on_conflict(accounts::id)
        .do_update()
        .set(accounts::balance.eq(excluded(accounts::balance)))
        .execute(conn)?;
    Ok(())
}

fn print_balances(conn: &mut PgConnection) -> QueryResult<()> {
    let rows = accounts::table
        .filter(accounts::id.eq_any([1, 2]))
        .order(accounts::id)
        .select(Account::as_select())
        .load(conn)?;
    for Account { id, balance } in rows {
        println!("{id} {balance}");
    }
    Ok(())
}
