//! The tables: created if they are missing, refused if they do not fit.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// A table: its name, the statement that creates it, and the columns that the service needs.
type Table = (&'static str, &'static str, &'static [[&'static str; 2]]);

const TABLES: [Table; 2] = [
    (
        "accounts",
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        &[["id", "bigint, primary key"], ["balance", "bigint"]],
    ),
    (
        "transfers",
        "CREATE TABLE IF NOT EXISTS transfers (
            key TEXT PRIMARY KEY, request TEXT NOT NULL, status INT8 NOT NULL, answer TEXT NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT current_timestamp)",
        &[
            ["key", "text, primary key"],
            ["request", "text"],
            ["status", "bigint"],
            ["answer", "text"],
            ["created_at", "timestamp with time zone"],
        ],
    ),
];

/// The name and the type of each column, and whether an INSERT must give it a value.
const COLUMNS: &str = "SELECT a.attname::TEXT, format_type(a.atttypid, NULL)
        || CASE WHEN a.attnum = ANY(i.indkey) THEN ', primary key' ELSE '' END,
        a.attnotnull AND NOT a.atthasdef
    FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = $1::TEXT::REGCLASS AND a.attnum > 0 AND NOT a.attisdropped";

/// Creates the tables that are missing. Tables that exist need no right to create any.
///
/// # Errors
///
/// Returns an error if a table cannot be created, or if one that exists does not fit.
pub async fn prepare(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    for (table, create, columns) in TABLES {
        let mut checked = check(&client, table, columns).await;
        if is_missing(&checked) {
            // If another instance creates it at the same time, this can fail.
            let created = client.batch_execute(create).await;
            checked = check(&client, table, columns).await;
            if is_missing(&checked) {
                created?;
            }
        }
        checked.with_context(|| format!("cannot use the table {table}: try another database"))?;
    }
    Ok(())
}

fn is_missing(checked: &anyhow::Result<()>) -> bool {
    let error = checked
        .as_ref()
        .err()
        .and_then(|error| error.downcast_ref());
    error.and_then(tokio_postgres::Error::code) == Some(&SqlState::UNDEFINED_TABLE)
}

async fn check(client: &Client, table: &str, columns: &[[&str; 2]]) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    for row in client.query_typed(COLUMNS, &[(&table, Type::TEXT)]).await? {
        let (name, kind, is_required): (String, String, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let is_known = columns.iter().any(|[column, _]| *column == name);
        ensure!(
            is_known || !is_required,
            "the column {name} is NOT NULL and has no default"
        );
        found.insert(name, kind);
    }
    for [column, kind] in columns {
        let found = found.get(*column).map_or("missing", String::as_str);
        ensure!(found == *kind, "the column {column} is {found}, not {kind}");
    }
    Ok(())
}
