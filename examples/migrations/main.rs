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

/// Lets two instances migrate at once, after a third one that was killed half-way. The tool's table
/// `records` has a row for each migration.
fn two_instances(records: &str, migrate: fn(&DatabaseUrl)) {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let url = cluster.url().parse().unwrap();
        let mut client = crdb_postgres::connect(&url).unwrap();
        let mut execute = |sql: &str| client.batch_execute(sql).unwrap();
        // It has made the first change and not recorded it, and its lease lasts.
        let killed = Instant::now();
        execute(include_str!("refinery/V1__create_items.sql"));
        execute(include_str!("lease_table.sql"));
        let expires = "current_timestamp + INTERVAL '2 seconds'";
        execute(&format!(
            "INSERT INTO migration_lease VALUES (1, 0, {expires})"
        ));

        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| migrate(&url));
            }
        });
        assert!(killed.elapsed() >= Duration::from_secs(2));
        execute("INSERT INTO items (id, name, price) VALUES (1, 'a', 2)");
        let recorded = client.query(&format!("SELECT * FROM {records}"), &[]);
        assert_eq!(recorded.unwrap().len(), 2);
    }
}

fn block_on(migrate: impl Future<Output = anyhow::Result<()>>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(migrate).unwrap();
}
