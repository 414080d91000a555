//! When `run_transaction` runs a transaction again, how, and how often.

use std::error::Error;
use std::sync::Barrier;
use std::thread;

use crate::test_database::{
    OpError, TestDatabase, assert_usable, clusters, for_each_driver, operation, readable_clusters,
};
use crdb_conformance::{AnyError, Driver, Sql};
use crdb_local_cluster::Kind;

for_each_driver!(
    write_skew_makes_one_of_two_transactions_run_again,
    transfers_to_and_fro_wait_for_one_another,
    restart_transaction_runs_again_in_the_same_transaction,
    any_other_serialization_failure_or_deadlock_runs_again_in_a_new_transaction,
    a_retry_error_is_found_in_the_callers_own_errors,
    a_retry_error_is_found_in_transparent_errors,
    a_retry_error_is_found_in_anyhows_errors,
    a_retry_begins_a_new_transaction_if_the_savepoint_is_gone,
    after_fifty_retries_the_last_error_comes_back_as_it_is,
    retry_errors_that_cockroachdb_injects_are_retried,
);

/// Creates the function `fail_first(n, code, message)`, which fails in its first `n` calls, like
/// CockroachDB's `crdb_internal.force_retry`. A sequence counts the calls: it is not rolled back.
fn create_force_retry(database: &TestDatabase) {
    database.execute("CREATE SEQUENCE calls");
    database.execute(
        "CREATE FUNCTION fail_first(n INT8, code TEXT, message TEXT) RETURNS INT8 AS $$
         DECLARE call INT8 := nextval('calls');
         BEGIN
             IF call <= n THEN RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message; END IF;
             RETURN call;
         END $$ LANGUAGE plpgsql",
    );
}

/// Two transactions read the sum of both accounts. Then each withdraws from one account, though
/// only one of them may.
fn write_skew_makes_one_of_two_transactions_run_again<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let both_have_read = Barrier::new(2);
        let withdraw = |account: i64| {
            let mut driver = D::connect(&database.url).unwrap();
            let mut runs = 0;
            let result = driver.transact(|txn: &mut dyn Sql| {
                runs += 1;
                let sql = "SELECT sum(balance)::INT8 AS value FROM accounts WHERE id IN (1, 2)";
                let sum = txn.read(sql)?[0];
                if runs == 1 {
                    both_have_read.wait();
                }
                if sum >= 150 {
                    let sql =
                        format!("UPDATE accounts SET balance = balance - 90 WHERE id = {account}");
                    txn.execute(&sql)?;
                }
                Ok::<_, OpError>(())
            });
            result.unwrap();
            (driver, runs)
        };
        let withdraw = &withdraw;
        let [(mut first, runs), (mut second, more_runs)] = thread::scope(|scope| {
            let workers = [1, 2].map(|account| scope.spawn(move || withdraw(account)));
            workers.map(|worker| worker.join().unwrap())
        });
        assert!(
            runs + more_runs >= 3,
            "{runs} and {more_runs} runs: one must have run again"
        );
        assert_eq!(
            database.read::<D>("SELECT sum(balance)::INT8 AS value FROM accounts"),
            [110]
        );
        assert_usable(&mut first);
        assert_usable(&mut second);
    }
}

/// Two workers transfer between the same two accounts, in opposite directions. PostgreSQL rejects a
/// transaction whose row has changed while it waited, so only CockroachDB needs no retry.
fn transfers_to_and_fro_wait_for_one_another<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let work = |from, to| {
            let mut driver = D::connect(&database.url).unwrap();
            (0..100)
                .map(|_| driver.transfer(from, to, 1).unwrap())
                .sum::<u32>()
        };
        let runs = thread::scope(|scope| {
            let there = scope.spawn(|| work(1, 2));
            work(2, 1) + there.join().unwrap()
        });
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        match cluster.kind() {
            Kind::Cockroach => assert_eq!(runs, 200, "nothing is retried"),
            Kind::Postgres => assert_eq!(database.execute(deadlocks), "0"),
        }
        println!(
            "{} on {:?}: {runs} runs for 200 transfers",
            D::NAME,
            cluster.kind()
        );
        let balances = database.balances::<D>();
        assert_eq!(balances, [100, 100]);
    }
}

fn restart_transaction_runs_again_in_the_same_transaction<D: Driver>() {
    for cluster in readable_clusters() {
        let database = TestDatabase::on(cluster);
        create_force_retry(&database);
        let mut driver = D::connect(&database.relayed).unwrap();
        database.relay.record();
        let mut transactions = Vec::new();
        driver
            .transact(|txn| {
                transactions.extend(txn.read("SELECT txid_current() AS value")?);
                txn.execute("INSERT INTO ledger VALUES (1)")?;
                Ok::<_, OpError>(
                    txn.execute("SELECT fail_first(3, '40001', 'restart transaction: forced')")?,
                )
            })
            .unwrap();
        assert_eq!(transactions.len(), 4, "one run and three more");
        assert!(
            transactions.iter().all(|id| *id == transactions[0]),
            "{transactions:?}"
        );
        let sent = database.relay.recorded();
        assert_eq!(
            sent.matches("ROLLBACK TO SAVEPOINT cockroach_restart")
                .count(),
            3
        );
        assert_eq!(database.entries::<D>(), [1]);
        assert_usable(&mut driver);
    }
}

fn any_other_serialization_failure_or_deadlock_runs_again_in_a_new_transaction<D: Driver>() {
    for cluster in readable_clusters() {
        for (code, message) in [
            ("40001", "could not serialize access"),
            ("40P01", "deadlock detected"),
        ] {
            let database = TestDatabase::on(cluster);
            create_force_retry(&database);
            let mut driver = D::connect(&database.relayed).unwrap();
            database.relay.record();
            let (mut transactions, mut backends) = (Vec::new(), Vec::new());
            driver
                .transact(|txn| {
                    backends.extend(txn.read("SELECT pg_backend_pid()::INT8 AS value")?);
                    transactions.extend(txn.read("SELECT txid_current() AS value")?);
                    Ok::<_, OpError>(
                        txn.execute(&format!("SELECT fail_first(2, '{code}', '{message}')"))?,
                    )
                })
                .unwrap();
            assert_eq!(transactions.len(), 3);
            transactions.dedup();
            assert_eq!(
                transactions.len(),
                3,
                "each run in a transaction of its own"
            );
            let again = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
            let sent = database.relay.recorded();
            assert_eq!(sent.matches(again).count(), 2, "in one message");
            backends.dedup();
            assert_eq!(backends.len(), 1, "on the same connection");
            assert_usable(&mut driver);
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the first wrapping")]
struct Inner(#[source] OpError);

#[derive(Debug, thiserror::Error)]
#[error("the second wrapping")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Transparent(AnyError);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct TwiceTransparent(#[from] Transparent);

fn a_retry_error_is_found_in_the_callers_own_errors<D: Driver>() {
    assert_retried::<D, _>(|error| {
        error
            .map_err(OpError::Database)
            .map_err(Inner)
            .map_err(Outer)
    });
}

/// The documentation of each transaction.rs recommends this variant.
#[derive(Debug, thiserror::Error)]
enum WithAnyhow {
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn a_retry_error_is_found_in_anyhows_errors<D: Driver>() {
    assert_retried::<D, _>(|error| {
        error.map_err(|error| WithAnyhow::from(anyhow::Error::from_boxed(error)))
    });
    assert_retried::<D, _>(|error| {
        let error = error.map_err(anyhow::Error::from_boxed);
        error.map_err(|error| WithAnyhow::from(error.context("the transfer")))
    });
}

fn a_retry_error_is_found_in_transparent_errors<D: Driver>() {
    assert_retried::<D, _>(|error| error.map_err(Transparent));
    assert_retried::<D, _>(|error| error.map_err(Transparent).map_err(TwiceTransparent));
}

fn assert_retried<D: Driver, E: Error + Send + Sync + 'static>(
    wrap: impl Fn(Result<(), AnyError>) -> Result<(), E>,
) {
    for cluster in readable_clusters() {
        for (sqlstate, message) in [
            ("40001", "restart transaction: forced"),
            ("40001", "could not serialize access"),
            ("40P01", "deadlock detected"),
        ] {
            let database = TestDatabase::on(cluster);
            create_force_retry(&database);
            let mut driver = D::connect(&database.url).unwrap();
            let mut runs = 0;
            let result = driver.transact(|txn| {
                runs += 1;
                let sql = format!("SELECT fail_first(2, '{sqlstate}', '{message}')");
                wrap(txn.execute(&sql))
            });
            assert!(result.is_ok(), "{message}: {result:?}");
            assert_eq!(runs, 3);
            assert_usable(&mut driver);
        }
    }
}

/// The commit fails and ends the transaction, so there is no savepoint to go back to.
fn a_retry_begins_a_new_transaction_if_the_savepoint_is_gone<D: Driver>() {
    for cluster in readable_clusters() {
        for message in ["restart transaction: forced", "could not serialize access"] {
            let database = TestDatabase::on(cluster);
            create_force_retry(&database);
            database.execute(&format!(
                "CREATE FUNCTION fail_twice() RETURNS TRIGGER AS $$ BEGIN
                     PERFORM fail_first(2, '40001', '{message}');
                     RETURN NEW;
                 END $$ LANGUAGE plpgsql;
                 CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_twice()"
            ));
            let mut driver = D::connect(&database.url).unwrap();
            let mut runs = 0;
            let result = driver.transact(|txn| {
                runs += 1;
                Ok::<_, OpError>(txn.execute(&format!("INSERT INTO ledger VALUES ({runs})"))?)
            });
            assert!(result.is_ok(), "{message}: {result:?}");
            assert_eq!(runs, 3);
            assert_eq!(database.entries::<D>(), [3]);
            assert_usable(&mut driver);
        }
    }
}

fn after_fifty_retries_the_last_error_comes_back_as_it_is<D: Driver>() {
    for cluster in readable_clusters() {
        let database = TestDatabase::on(cluster);
        create_force_retry(&database);
        let mut driver = D::connect(&database.url).unwrap();
        let mut runs = 0;
        let failed = driver.transact(|txn| {
            runs += 1;
            txn.execute("INSERT INTO ledger VALUES (1)")?;
            let sql = "SELECT fail_first(100, '40001', 'restart transaction: forced')";
            Ok::<_, OpError>(txn.execute(sql)?)
        });
        assert!(matches!(
            operation(failed.unwrap_err()),
            OpError::Database(_)
        ));
        assert_eq!(runs, 51, "one run and fifty retries");
        assert_eq!(database.entries::<D>(), [0; 0]);
        assert_usable(&mut driver);
    }
}

/// With this setting CockroachDB fails each statement except SET until the transaction has been
/// restarted three times.
fn retry_errors_that_cockroachdb_injects_are_retried<D: Driver>() {
    let inject = "SET inject_retry_errors_enabled = 'true'";
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Cockroach) {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let mut runs = 0;
        driver
            .transact(|txn| {
                runs += 1;
                txn.execute(inject)?;
                Ok::<_, OpError>(txn.execute("INSERT INTO ledger VALUES (1)")?)
            })
            .unwrap();
        assert_eq!(runs, 4, "three injected failures");
        assert_eq!(database.entries::<D>(), [1]);
    }
}
