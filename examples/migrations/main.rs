//! The migrations on the drivers' pages. They are a package of their own because the tools have many
//! dependencies, which the samples need not compile.

use std::thread;
use std::time::{Duration, Instant};

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind};

mod diesel;
mod postgres;
mod sea_orm;
mod sqlx;
mod tokio_postgres;

/// Lets two instances migrate at once, after one that failed and one that was killed half-way. The
/// tool's table `records` has a row for each migration.
fn two_instances(records: &str, migrate: fn(&DatabaseUrl) -> anyhow::Result<()>) {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let url = cluster.url().parse().unwrap();
        let mut client = crdb_postgres::connect(&url).unwrap();
        client
            .batch_execute("CREATE VIEW items AS SELECT 1 AS id")
            .unwrap();
        migrate(&url).expect_err("no column can be added to a view");
        let held = "SELECT holder FROM migration_lease WHERE expires_at > current_timestamp";
        assert_eq!(client.query(held, &[]).unwrap().len(), 0);

        let mut execute = |sql: &str| client.batch_execute(sql).unwrap();
        execute(&format!("DROP VIEW items; DROP TABLE {records}"));
        // It has made the first change and perhaps not recorded it, and its lease lasts.
        let killed = Instant::now();
        execute(include_str!("refinery/V1__create_items.sql"));
        let expires = "current_timestamp + INTERVAL '2 seconds'";
        execute(&format!(
            "UPDATE migration_lease SET holder = 0, expires_at = {expires}"
        ));

        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| migrate(&url).unwrap());
            }
        });
        assert!(killed.elapsed() >= Duration::from_secs(2));
        execute("INSERT INTO items (id, name, price) VALUES (1, 'a', 2)");
        let recorded = client.query(&format!("SELECT * FROM {records}"), &[]);
        assert_eq!(recorded.unwrap().len(), 2);
    }
}

fn block_on(migrate: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(migrate)
}
