//! The tables: created if they are missing, refused if they do not fit.

use anyhow::{Context, ensure};
use deadpool_postgres::Pool;

/// Creates the tables. If they exist, this needs no right to create any.
pub async fn prepare(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    for attempt in 0.. {
        let mut is_missing = false;
        for row in client.query_typed(include_str!("columns.sql"), &[]).await? {
            let (table, columns): (&str, &str) = (row.get(0), row.get(1));
            let found = row.get::<_, Option<&str>>(2);
            is_missing |= found.is_none();
            // After the last attempt to create it, it exists, without one of these columns.
            ensure!(
                found.map_or(attempt < 3, |found| found == columns),
                "the table {table} does not fit: try another database\nIts columns are {}, and \
                 should be {columns}.",
                found.unwrap_or("others")
            );
        }
        if !is_missing {
            break;
        }
        // This can fail if another instance creates the tables at the same time.
        let created = client.batch_execute(include_str!("tables.sql")).await;
        if attempt == 2 {
            created.context("cannot create the tables")?;
        }
    }
    Ok(())
}
