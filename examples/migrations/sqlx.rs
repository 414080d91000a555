//! sqlx's own migrations.

use std::time::Duration;

use sqlx::{Executor, PgPool};
use tokio::time::sleep;

/// Runs the migrations that are missing. Other instances wait meanwhile.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    let mut migrations = sqlx::migrate!("./sqlx");
    migrations.set_locking(false);
    let holder = fastrand::i64(1..);
    for migration in migrations.iter() {
        while !lease(pool, holder, 300).await? {
            eprintln!("waiting for another instance's migration");
            sleep(Duration::from_secs(1)).await;
        }
        let result = migrations.run_to(migration.version, pool).await;
        // Also after an error: the next start need not wait.
        lease(pool, holder, 0).await.ok();
        result?;
    }
    Ok(())
}

/// Takes or renews the lease for some seconds. Returns false if another instance has it.
async fn lease(pool: &PgPool, holder: i64, seconds: i64) -> sqlx::Result<bool> {
    // If this fails and there is no table, the next statement fails too.
    pool.execute(include_str!("lease_table.sql")).await.ok();
    let lease = sqlx::query(include_str!("lease.sql"));
    let lease = lease.bind(holder).bind(seconds).execute(pool).await?;
    Ok(lease.rows_affected() == 1)
}

#[test]
fn two_instances_migrate_once_after_one_that_was_killed() {
    crate::two_instances("_sqlx_migrations", |url| {
        crate::block_on(async { migrate(&crdb_sqlx::connect(url).await?).await })
    });
}
