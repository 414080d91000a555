//! `run_transaction` reports the outcome of a transaction correctly and leaves the connection
//! usable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use crate::test_database::{
    OpError, TestDatabase, assert_usable, clusters, for_each_driver, readable_cluster,
};
use crdb_conformance::{Driver, Sql, TransactionError};
use crdb_local_cluster::{Kind, Point};

for_each_driver!(
    an_error_of_op_is_passed_through_and_rolled_back_and_its_own_savepoints_work,
    a_cut_is_ambiguous_during_the_commit_and_not_committed_before_it,
    if_the_connection_is_lost_before_the_retry_the_retry_error_comes_back,
    an_answer_to_the_commit_is_ambiguous_unless_it_proves_a_rollback,
    an_op_that_ends_its_transaction_is_found_out_and_not_run_again,
    a_session_that_ends_before_the_commit_has_committed_nothing,
    a_panic_in_op_reaches_the_caller_and_leaves_the_connection_usable,
    a_transfer_that_is_refused_changes_nothing,
);

const INSERT: &str = "INSERT INTO ledger VALUES (1)";

/// Inserts an entry and ends `op` like this, and asserts the result and the entries in the ledger.
fn assert_op<D: Driver>(
    expected: &str,
    entries: &[i64],
    end: impl Fn(&mut dyn Sql) -> Result<(), OpError>,
) {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let op = |txn: &mut dyn Sql, _| {
            txn.execute(INSERT)?;
            end(txn)
        };
        let mut driver: D = database.assert_transaction(op, (expected, 1, entries));
        assert_usable(&mut driver);
    }
}

fn an_error_of_op_is_passed_through_and_rolled_back_and_its_own_savepoints_work<D: Driver>() {
    assert_op::<D>("Err(Operation(Own", &[], |_| Err(OpError::Own));
    assert_op::<D>("Err(Operation(Database(", &[], |txn| {
        Ok(txn.execute(INSERT)?)
    });
    // An error that `op` ignores.
    assert_op::<D>("Err(Database(", &[], |txn| {
        let _ = txn.execute(INSERT);
        Ok(())
    });
    assert_op::<D>("Ok(", &[1, 3], |txn| {
        txn.execute("SAVEPOINT own; INSERT INTO ledger VALUES (2)")?;
        Ok(txn.execute("ROLLBACK TO SAVEPOINT own; INSERT INTO ledger VALUES (3)")?)
    });
}

fn a_cut_is_ambiguous_during_the_commit_and_not_committed_before_it<D: Driver>() {
    for cluster in clusters() {
        for (cut, at_commit, expected, entries) in [
            // Before its answer, the commit was done. Before it arrives, it was not.
            (Point::Answer(1), true, "Err(AmbiguousCommit(", &[1][..]),
            (Point::Turn(1), true, "Err(AmbiguousCommit(", &[]),
            (Point::Answer(1), false, "Err(Operation(", &[]),
            (Point::Turn(1), false, "Err(Operation(", &[]),
        ] {
            let database = TestDatabase::on(cluster);
            let op = |txn: &mut dyn Sql, _| {
                if at_commit {
                    txn.execute(INSERT)?;
                }
                database.relay.cut(cut);
                if !at_commit {
                    txn.execute(INSERT)?;
                }
                Ok(())
            };
            let mut driver: D = database.assert_transaction(op, (expected, 1, entries));
            // The connection is lost. Only a pool opens a new one.
            assert_eq!(driver.transfer(1, 2).is_ok(), D::FACTS.has_pool);
        }
    }
}

fn if_the_connection_is_lost_before_the_retry_the_retry_error_comes_back<D: Driver>() {
    for message in ["restart transaction: forced", "could not serialize access"] {
        // The statement, the commit if it succeeds, and then what restarts.
        let in_op = format!("SELECT raise('40001', '{message}')");
        let at_commit = format!("INSERT INTO at_commit VALUES ('40001', '{message}')");
        for (sql, turn, expected) in [
            (in_op, 2, "Err(Operation("),
            (at_commit, 3, "Err(Database("),
        ] {
            let database = TestDatabase::on(readable_cluster());
            let op = |txn: &mut dyn Sql, _| {
                database.relay.cut(Point::Turn(turn));
                Ok(txn.execute(&sql)?)
            };
            let _: D = database.assert_transaction(op, (expected, 1, &[]));
            assert!(!database.relay.cut_is_pending());
        }
    }
}

fn an_answer_to_the_commit_is_ambiguous_unless_it_proves_a_rollback<D: Driver>() {
    let rolled_back = ["22012", "23505", "23514", "40002", "44000", "P0001"];
    let ambiguous = [
        "08P01", "25006", "40003", "42501", "57014", "57P01", "XXA00",
    ];
    let database = TestDatabase::on(readable_cluster());
    for sqlstate in rolled_back.into_iter().chain(ambiguous) {
        let is_known = D::FACTS.passes_on_sqlstates || sqlstate.starts_with("23");
        let expected = if is_known && rolled_back.contains(&sqlstate) {
            "Err(Database("
        } else {
            "Err(AmbiguousCommit("
        };
        let op = |txn: &mut dyn Sql, _| {
            txn.execute(INSERT)?;
            let answer = format!("INSERT INTO at_commit VALUES ('{sqlstate}', '{sqlstate}')");
            Ok(txn.execute(&answer)?)
        };
        let mut driver: D = database.assert_transaction(op, (expected, 1, &[]));
        assert_usable(&mut driver);
    }
}

fn an_op_that_ends_its_transaction_is_found_out_and_not_run_again<D: Driver>() {
    type Last = fn(&mut dyn Sql, &[&str]) -> Result<(), OpError>;
    // What `op` does afterwards: it succeeds, ignores an error, fails by itself, or asks for a retry.
    let lasts: [Last; 4] = [
        |_, _| Ok(()),
        |txn, _| txn.execute("SELECT no_such_column").or(Ok(())),
        |_, _| Err(OpError::Own),
        |txn, retry| Ok(retry.iter().try_for_each(|sql| txn.execute(sql))?),
    ];
    let release = "RELEASE SAVEPOINT cockroach_restart";
    let ends = [
        "COMMIT",
        "COMMIT; BEGIN",
        "ROLLBACK",
        "ROLLBACK; BEGIN",
        release,
    ];
    let cases = ends.map(|end| lasts.map(|last| (end, last)));
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        for (entry, (end, last)) in cases.as_flattened().iter().enumerate() {
            let retry = match (cluster.kind(), end.ends_with("BEGIN")) {
                (Kind::Postgres, _) => {
                    &["SELECT raise('40001', 'restart transaction: forced')"][..]
                }
                // CockroachDB retries the first statement of a transaction by itself.
                (_, true) => &["SELECT 1", "SELECT crdb_internal.force_retry('1h')"],
                (_, false) => &[
                    "BEGIN",
                    "SELECT 1",
                    "SELECT crdb_internal.force_retry('1h')",
                ],
            };
            let mut runs = 0;
            let result = driver.transact(|txn| {
                runs += 1;
                txn.execute(&format!("INSERT INTO ledger VALUES ({entry})"))?;
                txn.execute(end)?;
                last(txn, retry)
            });
            let is_ambiguous = matches!(result, Err(TransactionError::AmbiguousCommit(_)));
            assert!(
                is_ambiguous && runs == 1,
                "case {entry}, {end}: {runs}, {result:?}"
            );
            assert_usable(&mut driver);
        }
    }
}

/// PostgreSQL closes the connection with 25P03. CockroachDB 21.2 does so in answer to the commit, whose
/// outcome is then not known.
fn a_session_that_ends_before_the_commit_has_committed_nothing<D: Driver>() {
    let database = TestDatabase::on(readable_cluster());
    let op = |txn: &mut dyn Sql, _| {
        txn.execute("SET idle_in_transaction_session_timeout = '300ms'")?;
        txn.execute(INSERT)?;
        thread::sleep(Duration::from_millis(900));
        Ok(())
    };
    let _: D = database.assert_transaction(op, ("Err(Database(", 1, &[]));
}

fn a_panic_in_op_reaches_the_caller_and_leaves_the_connection_usable<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            driver.transact::<OpError>(|txn| {
                txn.execute("UPDATE accounts SET balance = 0")?;
                panic!("op's own panic");
            })
        }));
        let reason = *panicked.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(reason, "op's own panic");
        assert_usable(&mut driver);
        assert_eq!(database.balances::<D>(), [100, 100]);
    }
}

fn a_transfer_that_is_refused_changes_nothing<D: Driver>() {
    let not_enough = "account 1 holds 100, which is not enough to transfer 101";
    let not_positive = "an amount to transfer must be positive, and 0 is not";
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        for (from, to, amount, sentence) in [
            (1, 2, 101, not_enough),
            (9, 2, 1, "there is no account 9"),
            (1, 9, 1, "there is no account 9"),
            (1, 2, 0, not_positive),
        ] {
            let refused = driver.transfer_once(1, [from, to, amount]).unwrap_err();
            assert_eq!(refused.to_string(), sentence);
        }
        assert_eq!(database.balances::<D>(), [100, 100]);
        assert_usable(&mut driver);
    }
}
