//! How a program uses `crdb-local-cluster` in its own tests.

use crdb_local_cluster::Cluster;
use crdb_postgres::connect;

#[test]
fn a_new_table_is_empty() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let mut client = connect(&cluster.url().parse()?)?;
    client.batch_execute("CREATE TABLE orders (id INT8 PRIMARY KEY)")?;
    assert!(client.query("SELECT id FROM orders", &[])?.is_empty());
    Ok(())
}
