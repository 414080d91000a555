//! Inserts and reads many rows of the table `customers`.

use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;

diesel::table! {
    customers (id) {
        id -> BigInt,
        name -> Text,
    }
}

/// Inserts the customers that do not exist yet. Each 1,000 commit by themselves.
pub fn insert_customers(conn: &mut PgConnection, customers: &[(i64, String)]) -> QueryResult<()> {
    // A statement can have 65,535 parameters, here two for each row, and a message 16 MiB: with long
    // names, take fewer rows.
    for piece in customers.chunks(1000) {
        let row =
            |(id, name): &(i64, String)| (customers::id.eq(*id), customers::name.eq(name.clone()));
        diesel::insert_into(customers::table)
            .values(piece.iter().map(row).collect::<Vec<_>>())
            .on_conflict_do_nothing()
            .execute(conn)?;
    }
    Ok(())
}

/// Reads the customers up to the id `last` one by one, so they need not fit into memory.
pub fn read_customers(
    conn: &mut PgConnection,
    last: i64,
    mut each: impl FnMut(i64, String),
) -> QueryResult<()> {
    let up_to_last = customers::table
        .filter(customers::id.le(last))
        .order(customers::id);
    // Without this mode, libpq keeps the whole result in memory.
    for row in up_to_last.load_iter::<_, PgRowByRowLoadingMode>(conn)? {
        let (id, name) = row?;
        each(id, name);
    }
    Ok(())
}
