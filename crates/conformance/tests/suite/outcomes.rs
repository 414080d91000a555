//! `run_transaction` reports the outcome of a transaction correctly and leaves the connection
//! usable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::test_database::{
    OpError, TestDatabase, assert_outcome, assert_usable, clusters, create_raise, for_each_driver,
    operation,
};
use crdb_conformance::{Driver, Sql, TransactionError};
use crdb_local_cluster::{Kind, Point};

for_each_driver!(
    a_cut_during_the_commit_is_ambiguous_and_not_run_again,
    a_connection_that_is_lost_within_the_transaction_is_reported_as_not_committed,
    if_the_connection_is_lost_before_the_retry_the_retry_error_comes_back,
    an_error_of_the_server_is_passed_through_and_rolled_back,
    an_error_that_op_ignores_is_reported_as_not_committed,
    the_callers_own_error_comes_back_typed_and_rolled_back,
    op_can_set_savepoints_of_its_own,
    a_panic_in_op_reaches_the_caller_and_leaves_the_connection_usable,
    an_answer_to_the_commit_that_proves_nothing_is_ambiguous,
    an_answer_to_the_commit_that_proves_a_rollback_is_reported_as_not_committed,
    a_transfer_that_is_refused_changes_nothing,
);

fn a_cut_during_the_commit_is_ambiguous_and_not_run_again<D: Driver>() {
    for cluster in clusters() {
        // Before its answer, it was committed. Before it arrives, it was not.
        let cuts = [(Point::Answer(1), vec![1]), (Point::Turn(1), vec![])];
        for (cut, entries) in cuts {
            let database = TestDatabase::on(cluster);
            let mut driver = D::connect(&database.relayed).unwrap();
            let mut runs = 0;
            let result = driver.transact(|txn| {
                runs += 1;
                txn.execute("INSERT INTO ledger VALUES (1)")?;
                database.relay.cut(cut);
                Ok::<_, OpError>(())
            });
            assert!(!database.relay.cut_is_pending());
            assert_outcome!(result, AmbiguousCommit, D::FACTS.name);
            assert_eq!(runs, 1);
            assert_eq!(database.entries::<D>(), entries);
        }
    }
}

fn a_connection_that_is_lost_within_the_transaction_is_reported_as_not_committed<D: Driver>() {
    for cluster in clusters() {
        for cut in [Point::Turn(1), Point::Answer(1)] {
            let database = TestDatabase::on(cluster);
            let mut driver = D::connect(&database.relayed).unwrap();
            let mut runs = 0;
            let result = driver.transact(|txn| {
                runs += 1;
                database.relay.cut(cut);
                Ok::<_, OpError>(txn.execute("INSERT INTO ledger VALUES (1)")?)
            });
            assert_outcome!(result, Operation, D::FACTS.name);
            assert_eq!(runs, 1);
            assert_eq!(database.entries::<D>(), [0; 0]);
            // The connection is lost. Only a pool opens a new one.
            let after = driver.transfer(1, 2, 1);
            assert_eq!(after.is_ok(), D::FACTS.has_pool, "{after:?}");
        }
    }
}

fn if_the_connection_is_lost_before_the_retry_the_retry_error_comes_back<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        for message in ["restart transaction: forced", "could not serialize access"] {
            let database = TestDatabase::on(cluster);
            raise_at_commit(&database, "40001", message);
            create_raise(&database);
            for fails_in_op in [true, false] {
                let mut driver = D::connect(&database.relayed).unwrap();
                let mut runs = 0;
                let result = driver.transact(|txn| {
                    runs += 1;
                    if !fails_in_op {
                        txn.execute("INSERT INTO ledger VALUES (1)")?;
                        database.relay.cut(Point::Turn(2));
                        return Ok::<_, OpError>(());
                    }
                    database.relay.cut(Point::Turn(2));
                    Ok(txn.execute(&format!("SELECT raise('40001', '{message}')"))?)
                });
                assert!(!database.relay.cut_is_pending());
                assert_eq!(runs, 1);
                if fails_in_op {
                    assert_outcome!(result, Operation, D::FACTS.name);
                } else {
                    assert_outcome!(result, Database, D::FACTS.name);
                    assert!(format!("{result:?}").contains(message), "{result:?}");
                }
            }
        }
    }
}

/// Inserts an entry and ends `op` like this. Asserts that nothing is committed or run again, that the
/// connection is usable, and that the error passes the check.
fn assert_rolled_back<D: Driver>(
    end: impl Fn(&mut dyn Sql) -> Result<(), OpError>,
    is_expected: impl Fn(TransactionError) -> bool,
) {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let mut runs = 0;
        let result = driver.transact(|txn| {
            runs += 1;
            txn.execute("INSERT INTO ledger VALUES (1)")?;
            end(txn)
        });
        assert!(is_expected(result.unwrap_err()));
        assert_eq!(runs, 1);
        assert_eq!(database.entries::<D>(), [0; 0]);
        assert_usable(&mut driver);
    }
}

fn an_error_of_the_server_is_passed_through_and_rolled_back<D: Driver>() {
    let same_entry = |txn: &mut dyn Sql| Ok(txn.execute("INSERT INTO ledger VALUES (1)")?);
    assert_rolled_back::<D>(same_entry, |error| {
        matches!(operation(error), OpError::Database(_))
    });
}

fn an_error_that_op_ignores_is_reported_as_not_committed<D: Driver>() {
    let ignore = |txn: &mut dyn Sql| {
        let _ = txn.execute("SELECT no_such_column FROM ledger");
        Ok(())
    };
    assert_rolled_back::<D>(ignore, |error| {
        matches!(error, TransactionError::Database(_))
    });
}

fn the_callers_own_error_comes_back_typed_and_rolled_back<D: Driver>() {
    assert_rolled_back::<D>(
        |_| Err(OpError::Own),
        |error| matches!(operation(error), OpError::Own),
    );
}

fn op_can_set_savepoints_of_its_own<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let result = driver.transact(|txn| {
            txn.execute("INSERT INTO ledger VALUES (1); SAVEPOINT inner_one")?;
            txn.execute("INSERT INTO ledger VALUES (2); ROLLBACK TO SAVEPOINT inner_one")?;
            Ok::<_, OpError>(txn.execute("INSERT INTO ledger VALUES (3)")?)
        });
        result.unwrap();
        assert_eq!(database.entries::<D>(), [1, 3]);
    }
}

fn a_panic_in_op_reaches_the_caller_and_leaves_the_connection_usable<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            driver.transact::<OpError>(|txn| {
                txn.execute("INSERT INTO ledger VALUES (1)")?;
                panic!("op's own panic");
            })
        }));
        let reason = *panicked.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(reason, "op's own panic");
        assert_usable(&mut driver);
        assert_eq!(database.entries::<D>(), [0; 0]);
    }
}

/// Creates a trigger that raises this error at COMMIT.
fn raise_at_commit(database: &TestDatabase, sqlstate: &str, message: &str) {
    database.execute(&format!(
        "CREATE FUNCTION answer() RETURNS TRIGGER AS $$ BEGIN
             RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = '{message}';
         END $$ LANGUAGE plpgsql;
         CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION answer()"
    ));
}

fn insert<D: Driver>(database: &TestDatabase) -> Result<(), TransactionError> {
    let mut driver = D::connect(&database.url).unwrap();
    let mut runs = 0;
    let result = driver.transact(|txn| {
        runs += 1;
        Ok::<_, OpError>(txn.execute("INSERT INTO ledger VALUES (1)")?)
    });
    assert_eq!(runs, 1);
    assert_usable(&mut driver);
    result
}

fn an_answer_to_the_commit_that_proves_nothing_is_ambiguous<D: Driver>() {
    let answers = [
        ("40003", "result is ambiguous: unknown"),
        ("57014", "canceling statement due to user request"),
        (
            "57P01",
            "terminating connection due to administrator command",
        ),
        ("XXA00", "transaction committed but schema change aborted"),
        ("XX000", "internal error"),
        ("58030", "could not write"),
        ("08P01", "protocol violation"),
        ("42501", "permission denied"),
        ("53100", "disk full"),
        ("25006", "read-only transaction"),
    ];
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        for (sqlstate, message) in answers {
            let database = TestDatabase::on(cluster);
            raise_at_commit(&database, sqlstate, message);
            let result = insert::<D>(&database);
            assert_outcome!(result, AmbiguousCommit, sqlstate);
        }
    }
}

fn an_answer_to_the_commit_that_proves_a_rollback_is_reported_as_not_committed<D: Driver>() {
    let answers = [
        "22012", "23503", "23505", "23514", "40002", "44000", "P0001",
    ];
    let known = |sqlstate: &&str| D::FACTS.passes_on_sqlstates || sqlstate.starts_with("23");
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        for sqlstate in answers.into_iter().filter(known) {
            let database = TestDatabase::on(cluster);
            raise_at_commit(&database, sqlstate, "rejected");
            let result = insert::<D>(&database);
            assert_outcome!(result, Database, sqlstate);
            assert_eq!(database.entries::<D>(), [0; 0]);
        }
    }
}

fn a_transfer_that_is_refused_changes_nothing<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let cases = [
            (
                (1, 2, 101),
                "account 1 holds 100, which is not enough to transfer 101",
            ),
            ((9, 2, 1), "there is no account 9"),
            ((1, 9, 1), "there is no account 9"),
            ((9, 8, 1), "there is no account 9"),
            (
                (1, 2, 0),
                "an amount to transfer must be positive, and 0 is not",
            ),
            (
                (1, 2, -5),
                "an amount to transfer must be positive, and -5 is not",
            ),
        ];
        for ((from, to, amount), sentence) in cases {
            let refused = driver.transfer(from, to, amount).unwrap_err();
            assert!(
                matches!(refused, TransactionError::Operation(_)),
                "{refused:?}"
            );
            assert_eq!(refused.to_string(), sentence);
            assert_eq!(database.balances::<D>(), [100, 100]);
        }
        assert_usable(&mut driver);
    }
}
