//! Transactions within a transaction are savepoints.

use crdb_diesel::{TransactionError, connect, run_transaction};
use crdb_local_cluster::{Cluster, Kind};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::result::Error;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, RunQueryDsl, select};

/// Starts each kind of server, and returns a connection to it. The table `nested` is empty.
fn servers() -> impl Iterator<Item = (Cluster, PgConnection)> {
    Kind::available().unwrap().into_iter().map(|kind| {
        let cluster = Cluster::start_as(kind).unwrap();
        let mut conn = connect(&cluster.url().parse().unwrap()).unwrap();
        let create = "CREATE TABLE nested (entry INT8 PRIMARY KEY)";
        conn.batch_execute(create).unwrap();
        (cluster, conn)
    })
}

fn entries(conn: &mut PgConnection) -> i64 {
    select(sql::<BigInt>("(SELECT count(*) FROM nested)"))
        .get_result(conn)
        .unwrap()
}

#[test]
fn a_transaction_within_op_is_a_savepoint_and_not_a_second_begin() {
    for (_cluster, mut conn) in servers() {
        run_transaction(&mut conn, |txn| {
            txn.batch_execute("INSERT INTO nested VALUES (1)")?;
            let inner = txn.transaction(|txn| {
                txn.batch_execute("INSERT INTO nested VALUES (2)")?;
                Err::<(), _>(Error::RollbackTransaction)
            });
            assert_eq!(inner, Err(Error::RollbackTransaction));
            txn.transaction(|txn| txn.batch_execute("INSERT INTO nested VALUES (3)"))
        })
        .unwrap();
        assert_eq!(entries(&mut conn), 2, "1 and 3, without 2");
    }
}

#[test]
fn after_a_panic_in_a_nested_transaction_diesel_begins_a_new_transaction() {
    for (_cluster, mut conn) in servers() {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run_transaction(&mut conn, |txn| {
                txn.transaction(|txn| {
                    txn.transaction(|_| -> Result<(), Error> { panic!("deep inside") })
                })
            })
        }));
        assert!(panicked.is_err());
        // Diesel must send BEGIN here, and not SAVEPOINT.
        conn.transaction(|conn| conn.batch_execute("SELECT 1"))
            .unwrap();
        run_transaction(&mut conn, |txn| txn.batch_execute("SELECT 1")).unwrap();
    }
}

#[test]
fn run_transaction_within_run_transaction_is_an_error_and_the_outer_one_goes_on() {
    for (_cluster, mut conn) in servers() {
        run_transaction(&mut conn, |txn| {
            txn.batch_execute("INSERT INTO nested VALUES (1)")?;
            let again = run_transaction(txn, |_| Ok::<_, Error>(()));
            assert!(matches!(
                again,
                Err(TransactionError::Database(Error::AlreadyInTransaction))
            ));
            txn.batch_execute("INSERT INTO nested VALUES (2)")
        })
        .unwrap();
        assert_eq!(entries(&mut conn), 2);
    }
}

/// A commit that fails ends the transaction, and the retry begins a new one.
#[test]
fn a_transaction_within_op_is_a_savepoint_also_after_a_commit_that_failed() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let mut conn = connect(&cluster.url().parse().unwrap()).unwrap();
    for message in ["could not serialize access", "restart transaction: forced"] {
        conn.batch_execute(&format!(
            "DROP TABLE IF EXISTS nested; DROP SEQUENCE IF EXISTS commits; CREATE SEQUENCE commits;
             CREATE TABLE nested (entry INT8 PRIMARY KEY);
             CREATE OR REPLACE FUNCTION fail_once() RETURNS TRIGGER AS $$ BEGIN
                 IF nextval('commits') = 1 THEN
                     RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = '{message}';
                 END IF;
                 RETURN NEW;
             END $$ LANGUAGE plpgsql;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON nested
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_once()"
        ))
        .unwrap();
        run_transaction(&mut conn, |txn| {
            txn.transaction(|txn| txn.batch_execute("INSERT INTO nested VALUES (1)"))
        })
        .unwrap();
        assert_eq!(entries(&mut conn), 1, "{message}");
    }
}
