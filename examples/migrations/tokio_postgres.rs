//! refinery with tokio-postgres.

use std::time::Duration;

use deadpool_postgres::Pool;
use refinery::Target;
use tokio::time::sleep;
use tokio_postgres::{Client, types::Type};

refinery::embed_migrations!("refinery");

/// Runs the migrations that are missing. Other instances wait meanwhile.
pub async fn migrate(pool: &Pool) -> anyhow::Result<()> {
    let mut client = pool.get().await?;
    let holder = fastrand::i64(1..);
    for migration in migrations::runner().get_migrations() {
        while !lease(&client, holder, 300).await? {
            eprintln!("waiting for another instance's migration");
            sleep(Duration::from_secs(1)).await;
        }
        let next = Target::Version(migration.version());
        let runner = migrations::runner().set_target(next);
        let result = runner.run_async(&mut **client).await;
        // Also after an error: the next start need not wait.
        lease(&client, holder, 0).await.ok();
        result?;
    }
    Ok(())
}

/// Takes or renews the lease for some seconds. Returns false if another instance has it.
async fn lease(client: &Client, holder: i64, seconds: i64) -> Result<bool, tokio_postgres::Error> {
    // If this fails and there is no table, the next statement fails too.
    let table = include_str!("lease_table.sql");
    client.batch_execute(table).await.ok();
    let lease = include_str!("lease.sql");
    let parameters = [(&holder as _, Type::INT8), (&seconds as _, Type::INT8)];
    Ok(client.execute_typed(lease, &parameters).await? == 1)
}

#[test]
fn two_instances_migrate_once_after_one_that_was_killed() {
    crate::two_instances("refinery_schema_history", |url| {
        crate::block_on(async { migrate(&crdb_tokio_postgres::connect(url).await?).await })
    });
}
