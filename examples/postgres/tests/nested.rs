//! Savepoints within a transaction.

use crdb_local_cluster::{Cluster, Kind};
use crdb_postgres::{connect, run_transaction};

#[test]
fn op_can_set_savepoints_of_its_own() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let mut client = connect(&cluster.url().parse().unwrap()).unwrap();
        client
            .batch_execute("CREATE TABLE nested (entry INT8 PRIMARY KEY)")
            .unwrap();
        run_transaction(&mut client, |txn| {
            txn.batch_execute(
                "INSERT INTO nested VALUES (1); SAVEPOINT inner_one; INSERT INTO nested VALUES (2)",
            )?;
            txn.batch_execute("ROLLBACK TO SAVEPOINT inner_one; INSERT INTO nested VALUES (3)")
        })
        .unwrap();
        let rows = client
            .query_typed("SELECT entry FROM nested ORDER BY entry", &[])
            .unwrap();
        let entries: Vec<i64> = rows.iter().map(|row| row.get("entry")).collect();
        assert_eq!(entries, [1, 3]);
    }
}
