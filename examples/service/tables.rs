//! The tables: created if they are missing, refused if they do not fit.

use anyhow::{Context, ensure};
use deadpool_postgres::Pool;

/// Creates the tables. If they exist, this needs no right to create any.
pub async fn prepare(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let mut attempts = 0;
    let tables = loop {
        let rows = client.query_typed(include_str!("columns.sql"), &[]).await?;
        let tables: Vec<(String, String, Option<String>)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        if tables.iter().all(|(_, _, found)| found.is_some()) {
            break tables;
        }
        // This can fail if another instance creates the tables at the same time.
        let created = client.batch_execute(include_str!("tables.sql")).await;
        attempts += 1;
        if attempts == 3 {
            created.context("cannot create the tables")?;
        }
    };
    for (table, columns, found) in tables {
        let found = found.unwrap_or_default();
        ensure!(
            found == columns,
            "the table {table} does not fit: try another database\nIts columns are {found}, and \
             should be {columns}."
        );
    }
    Ok(())
}
