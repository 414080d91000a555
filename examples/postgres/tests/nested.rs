//! A `transaction()` within `op` commits the outer transaction: the driver has no savepoint for it.

use crdb_local_cluster::{Cluster, Kind};
use crdb_postgres::{TransactionError, connect, run_transaction};
use postgres::{Client, Error};

#[test]
fn an_inner_commit_is_found_out_and_op_is_not_run_again() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let mut client = connect(&cluster.url().parse().unwrap()).unwrap();
    client
        .batch_execute("CREATE TABLE nested (entry INT8)")
        .unwrap();
    for failure in [
        "SELECT no_such_column",
        "DO $$ BEGIN RAISE EXCEPTION 'restart transaction' USING ERRCODE = '40001'; END $$",
    ] {
        client.batch_execute("TRUNCATE nested").unwrap();
        let op = |txn: &mut Client| -> Result<(), Error> {
            let mut inner = txn.transaction()?;
            inner.batch_execute("INSERT INTO nested VALUES (1)")?;
            inner.commit()?;
            txn.batch_execute(failure)
        };
        let result = run_transaction(&mut client, op);
        let is_ambiguous = matches!(result, Err(TransactionError::AmbiguousCommit(_)));
        assert!(is_ambiguous, "{failure}: {result:?}");
        let rows = client.query("SELECT entry FROM nested", &[]).unwrap();
        assert_eq!(rows.len(), 1, "{failure}");
    }
}
