//! diesel_migrations.

use std::thread;
use std::time::Duration;

use anyhow::Error;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("diesel");

/// Runs the migrations that are missing. Other instances wait meanwhile.
pub fn migrate(conn: &mut PgConnection) -> anyhow::Result<()> {
    let holder = fastrand::i64(1..);
    loop {
        while !lease(conn, holder, 300)? {
            eprintln!("waiting for another instance's migration");
            thread::sleep(Duration::from_secs(1));
        }
        let result = run_next(conn);
        // Also after an error: the next start need not wait.
        lease(conn, holder, 0).ok();
        if !result.map_err(Error::from_boxed)? {
            return Ok(());
        }
    }
}

/// Runs the next migration. Returns false if none is missing.
fn run_next(conn: &mut PgConnection) -> diesel::migration::Result<bool> {
    let is_missing = conn.has_pending_migration(MIGRATIONS)?;
    if is_missing {
        conn.run_next_migration(MIGRATIONS)?;
    }
    Ok(is_missing)
}

/// Takes or renews the lease for some seconds. Returns false if another instance has it.
fn lease(conn: &mut PgConnection, holder: i64, seconds: i64) -> QueryResult<bool> {
    // If this fails and there is no table, the next statement fails too.
    conn.batch_execute(include_str!("lease_table.sql")).ok();
    let lease = diesel::sql_query(include_str!("lease.sql"));
    let lease = lease.bind::<BigInt, _>(holder).bind::<BigInt, _>(seconds);
    Ok(lease.execute(conn)? == 1)
}

#[test]
fn two_instances_migrate_once_after_one_that_was_killed() {
    crate::two_instances("__diesel_schema_migrations", |url| {
        migrate(&mut crdb_diesel::connect(url)?)
    });
}
