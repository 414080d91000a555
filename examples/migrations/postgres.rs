//! refinery with the postgres crate.

use std::thread;
use std::time::Duration;

use postgres::{Client, types::Type};
use refinery::Target;

refinery::embed_migrations!("refinery");

/// Runs the migrations that are missing. Other instances wait meanwhile.
pub fn migrate(client: &mut Client) -> anyhow::Result<()> {
    let holder = fastrand::i64(1..);
    for migration in migrations::runner().get_migrations() {
        while !lease(client, holder, 300)? {
            eprintln!("waiting for another instance's migration");
            thread::sleep(Duration::from_secs(1));
        }
        let next = Target::Version(migration.version());
        let result = migrations::runner().set_target(next).run(client);
        // Also after an error: the next start need not wait.
        lease(client, holder, 0).ok();
        result?;
    }
    Ok(())
}

/// Takes or renews the lease for some seconds. Returns false if another instance has it.
fn lease(client: &mut Client, holder: i64, seconds: i64) -> Result<bool, postgres::Error> {
    // If this fails and there is no table, the next statement fails too.
    client.batch_execute(include_str!("lease_table.sql")).ok();
    let lease = include_str!("lease.sql");
    let rows = client.execute_typed(lease, &[(&holder, Type::INT8), (&seconds, Type::INT8)])?;
    Ok(rows == 1)
}

#[test]
fn two_instances_migrate_once_after_one_that_was_killed() {
    crate::two_instances("refinery_schema_history", |url| {
        migrate(&mut crdb_postgres::connect(url)?)
    });
}
