//! Writes two accounts and reads them back; each statement commits by itself.
//!
//! Creates the table `accounts` where it is not there yet, and writes its rows 1 and 2.

use crdb_connection::Config;
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
pub struct Account {
    id: i64,
    balance: i64,
}

fn main() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    let mut conn = connect(&config)?;

    write_accounts(&mut conn)?;
    for Account { id, balance } in read_accounts(&mut conn)? {
        println!("{id} {balance}");
    }
    Ok(())
}

/// ON CONFLICT lets the sample run again: the rows are set back instead of being refused.
pub fn write_accounts(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
    )?;
    diesel::insert_into(accounts::table)
        .values([
            Account {
                id: 1,
                balance: 1000,
            },
            Account {
                id: 2,
                balance: 250,
            },
        ])
        .on_conflict(accounts::id)
        .do_update()
        .set(accounts::balance.eq(excluded(accounts::balance)))
        .execute(conn)?;
    Ok(())
}

/// The two rows of this sample, in the order of their ids.
pub fn read_accounts(conn: &mut PgConnection) -> QueryResult<Vec<Account>> {
    accounts::table
        .filter(accounts::id.eq_any([1, 2]))
        .order(accounts::id)
        .select(Account::as_select())
        .load(conn)
}
