//! Inserts and reads many rows of the table `customers (id INT8 PRIMARY KEY, name TEXT NOT NULL)`.

use std::pin::pin;

use deadpool_postgres::{Pool, PoolError};
use futures_util::TryStreamExt;
use tokio_postgres::types::Type;

/// Inserts the customers that do not exist yet. Each 1,000 commit by themselves.
pub async fn insert_customers(pool: &Pool, customers: &[(i64, String)]) -> Result<(), PoolError> {
    // Two parameters for any number of rows: a statement can have 65,535.
    let sql = "INSERT INTO customers (id, name) SELECT * FROM unnest($1::INT8[], $2::TEXT[])
        ON CONFLICT (id) DO NOTHING";
    let client = pool.get().await?;
    // One message for each piece: CockroachDB accepts 16 MiB. With long names, take fewer rows.
    for piece in customers.chunks(1000) {
        let (ids, names): (Vec<i64>, Vec<&str>) =
            piece.iter().map(|(id, name)| (*id, &**name)).unzip();
        let values = [
            (&ids as _, Type::INT8_ARRAY),
            (&names as _, Type::TEXT_ARRAY),
        ];
        client.execute_typed(sql, &values).await?;
    }
    Ok(())
}

/// Reads the customers up to the id `last` one by one, so they need not fit into memory.
pub async fn read_customers(
    pool: &Pool,
    last: i64,
    mut each: impl FnMut(i64, String),
) -> Result<(), PoolError> {
    let sql = "SELECT id, name FROM customers WHERE id <= $1 ORDER BY id";
    let client = pool.get().await?;
    let mut rows = pin!(client.query_typed_raw(sql, [(last, Type::INT8)]).await?);
    while let Some(row) = rows.try_next().await? {
        each(row.try_get("id")?, row.try_get("name")?);
    }
    Ok(())
}
