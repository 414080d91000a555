//! sea-orm-migration.

use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::prelude::*;
use tokio::time::sleep;

struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let create = include_str!("refinery/V1__create_items.sql");
        let add = include_str!("refinery/V2__add_price.sql");
        vec![
            Box::new(Change("1_create_items", create)),
            Box::new(Change("2_add_price", add)),
        ]
    }
}

/// The name of a migration and its statement.
struct Change(&'static str, &'static str);

impl MigrationName for Change {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.1).await?;
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }
}

/// Runs the migrations that are missing. Other instances wait meanwhile.
pub async fn migrate(db: &DatabaseConnection) -> anyhow::Result<()> {
    let holder = fastrand::i64(1..);
    for _ in Migrations::migrations() {
        while !lease(db, holder, 300).await? {
            eprintln!("waiting for another instance's migration");
            sleep(Duration::from_secs(1)).await;
        }
        let result = Migrations::up(db, Some(1)).await;
        // Also after an error: the next start need not wait.
        lease(db, holder, 0).await.ok();
        result?;
    }
    Ok(())
}

/// Takes or renews the lease for some seconds. Returns false if another instance has it.
async fn lease(db: &DatabaseConnection, holder: i64, seconds: i64) -> Result<bool, DbErr> {
    // If this fails and there is no table, the next statement fails too.
    let table = include_str!("lease_table.sql");
    db.execute_unprepared(table).await.ok();
    let lease = include_str!("lease.sql");
    let values = [holder.into(), seconds.into()];
    let lease = Statement::from_sql_and_values(DbBackend::Postgres, lease, values);
    Ok(db.execute_raw(lease).await?.rows_affected() == 1)
}

#[test]
fn two_instances_migrate_once_after_one_that_was_killed() {
    crate::two_instances("seaql_migrations", |url| {
        crate::block_on(async { migrate(&crdb_sea_orm::connect(url).await?).await })
    });
}
