//! Inserts and reads many rows of the table `customers (id INT8 PRIMARY KEY, name TEXT NOT NULL)`.

use futures_util::TryStreamExt;
use sqlx::PgPool;

/// Inserts the customers that do not exist yet. Each 1,000 commit by themselves.
pub async fn insert_customers(pool: &PgPool, customers: &[(i64, String)]) -> sqlx::Result<()> {
    // Two parameters for any number of rows: a statement can have 65,535.
    let sql = "INSERT INTO customers (id, name) SELECT * FROM unnest($1::INT8[], $2::TEXT[])
        ON CONFLICT (id) DO NOTHING";
    // One message for each piece: CockroachDB accepts 16 MiB. With long names, take fewer rows.
    for piece in customers.chunks(1000) {
        let (ids, names): (Vec<i64>, Vec<&str>) =
            piece.iter().map(|(id, name)| (*id, &**name)).unzip();
        sqlx::query(sql).bind(ids).bind(names).execute(pool).await?;
    }
    Ok(())
}

/// Reads the customers up to the id `last` one by one, so they need not fit into memory.
pub async fn read_customers(
    pool: &PgPool,
    last: i64,
    mut each: impl FnMut(i64, String),
) -> sqlx::Result<()> {
    let sql = "SELECT id, name FROM customers WHERE id <= $1 ORDER BY id";
    let mut rows = sqlx::query_as(sql).bind(last).fetch(pool);
    while let Some((id, name)) = rows.try_next().await? {
        each(id, name);
    }
    Ok(())
}
