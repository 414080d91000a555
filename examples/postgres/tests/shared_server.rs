//! How a program's tests share one server of `crdb-local-cluster`, each with a database of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::Cluster;
use crdb_postgres::connect;

/// The server of all tests in this file. It stops when the test program ends.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start().expect("a server starts"));

/// Runs a test in a new database. If the test panics, the database stays until the server stops.
fn in_new_database(test: impl FnOnce(&DatabaseUrl) -> anyhow::Result<()>) -> anyhow::Result<()> {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut client = connect(&CLUSTER.url().parse()?)?;
    client.batch_execute(&format!("CREATE DATABASE {name}"))?;
    let result = test(&CLUSTER.url_of(&name).parse()?);
    // The test has closed its connections: PostgreSQL drops no database that is in use.
    client.batch_execute(&format!("DROP DATABASE {name}"))?;
    result
}

#[test]
fn a_new_table_is_empty() -> anyhow::Result<()> {
    in_new_database(|url| {
        let mut client = connect(url)?;
        client.batch_execute("CREATE TABLE orders (id INT8 PRIMARY KEY)")?;
        assert!(client.query("SELECT id FROM orders", &[])?.is_empty());
        Ok(())
    })
}

#[test]
fn an_order_is_found() -> anyhow::Result<()> {
    in_new_database(|url| {
        let mut client = connect(url)?;
        client.batch_execute("CREATE TABLE orders (id INT8 PRIMARY KEY)")?;
        client.batch_execute("INSERT INTO orders VALUES (7)")?;
        let order = client.query_one("SELECT id FROM orders", &[])?;
        assert_eq!(order.get::<_, i64>(0), 7);
        Ok(())
    })
}
