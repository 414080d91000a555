//! The tables: created if they are missing, refused if they do not fit.

use anyhow::{Context, ensure};
use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

/// The columns of each table.
const TABLES: [[&str; 2]; 2] = [
    ["accounts", "balance bigint, id bigint primary key"],
    [
        "transfers",
        "answer text, created_at timestamp with time zone, key text primary key, request text, \
         status bigint",
    ],
];

/// Creates the tables. If they exist, this needs no right to create any.
pub async fn prepare(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let mut created = Ok(());
    for [table, columns] in TABLES {
        let values = [(&table as _, Type::TEXT), (&columns as _, Type::TEXT)];
        let found = loop {
            let rows = client
                .query_typed(include_str!("columns.sql"), &values)
                .await?;
            match rows[0].try_get::<_, Option<String>>(0)? {
                Some(found) => break found,
                None => created.context("cannot create the tables")?,
            }
            // This can fail if another instance creates the tables at the same time.
            created = client.batch_execute(include_str!("tables.sql")).await;
        };
        ensure!(
            found == columns,
            "the table {table} does not fit: try another database\nIts columns are {found}, and \
             should be {columns}."
        );
    }
    Ok(())
}
