//! Inserts and reads many rows of the table `customers (id INT8 PRIMARY KEY, name TEXT NOT NULL)`.

use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;
use postgres::{Client, Error};

/// Inserts the customers that do not exist yet. Each 1,000 commit by themselves.
pub fn insert_customers(client: &mut Client, customers: &[(i64, String)]) -> Result<(), Error> {
    // Two parameters for any number of rows: a statement can have 65,535.
    let sql = "INSERT INTO customers (id, name) SELECT * FROM unnest($1::INT8[], $2::TEXT[])
        ON CONFLICT (id) DO NOTHING";
    // One message for each piece: CockroachDB accepts 16 MiB. With long names, take fewer rows.
    for piece in customers.chunks(1000) {
        let (ids, names): (Vec<i64>, Vec<&str>) =
            piece.iter().map(|(id, name)| (*id, &**name)).unzip();
        let values = [
            (&ids as _, Type::INT8_ARRAY),
            (&names as _, Type::TEXT_ARRAY),
        ];
        client.execute_typed(sql, &values)?;
    }
    Ok(())
}

/// Reads the customers up to the id `last` one by one, so they need not fit into memory.
pub fn read_customers(
    client: &mut Client,
    last: i64,
    mut each: impl FnMut(i64, String),
) -> Result<(), Error> {
    let sql = "SELECT id, name FROM customers WHERE id <= $1 ORDER BY id";
    let mut rows = client.query_typed_raw(sql, [(last, Type::INT8)])?;
    while let Some(row) = rows.next()? {
        each(row.try_get("id")?, row.try_get("name")?);
    }
    Ok(())
}
