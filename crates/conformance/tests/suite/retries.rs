//! When `run_transaction` runs a transaction again, how, and how often.

use std::error::Error;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::test_database::{
    OpError, TestDatabase, assert_usable, clusters, cockroach, for_each_driver, readable_cluster,
};
use crdb_conformance::{AnyError, Driver, Facts, Sql};
use crdb_local_cluster::Kind;

for_each_driver!(
    write_skew_makes_one_of_two_transactions_run_again,
    transfers_to_and_fro_wait_for_one_another,
    the_first_restart_is_in_place_and_every_other_retry_begins_a_new_transaction,
    a_retry_error_is_found_in_all_wrappings,
    a_retry_begins_a_new_transaction_if_the_savepoint_is_gone,
    #[ignore = "needs CockroachDB"]
    retry_errors_that_cockroachdb_injects_are_retried,
);

/// The messages of retry errors, each with its SQLSTATE.
const RETRIES: [(&str, &str); 3] = [
    ("40001", "restart transaction: forced"),
    ("40001", "could not serialize access"),
    ("40P01", "deadlock detected"),
];

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
                let sum = txn.read("SELECT sum(balance)::INT8 AS value FROM accounts")?;
                if runs == 1 {
                    both_have_read.wait();
                }
                if sum[0] >= 150 {
                    let sql =
                        format!("UPDATE accounts SET balance = balance - 90 WHERE id = {account}");
                    txn.execute(&sql)?;
                }
                Ok::<_, OpError>(())
            });
            result.unwrap();
            runs
        };
        let withdraw = &withdraw;
        let runs: u32 = thread::scope(|scope| {
            let workers = [1, 2].map(|account| scope.spawn(move || withdraw(account)));
            workers.map(|worker| worker.join().unwrap()).iter().sum()
        });
        assert!(runs >= 3, "{runs} runs: one must have run again");
        assert_eq!(database.balances::<D>().iter().sum::<i64>(), 110);
    }
}

/// Two workers transfer between the same two accounts, in opposite directions. PostgreSQL rejects a
/// transaction whose row has changed while it waited, so only CockroachDB needs no retry.
fn transfers_to_and_fro_wait_for_one_another<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let work = |from, to| -> u32 {
            let mut driver = D::connect(&database.url).unwrap();
            (0..100).map(|_| driver.transfer(from, to).unwrap()).sum()
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
        assert_eq!(database.balances::<D>(), [100, 100]);
    }
}

fn the_first_restart_is_in_place_and_every_other_retry_begins_a_new_transaction<D: Driver>() {
    let begin = &["BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart"][..];
    let in_place = &["ROLLBACK TO SAVEPOINT cockroach_restart"][..];
    let rollback = &["ROLLBACK TO SAVEPOINT cockroach_restart; ROLLBACK"];
    let anew = &[rollback, begin].concat()[..];
    for ((sqlstate, message), first) in RETRIES.into_iter().zip([in_place, anew, anew]) {
        let database = TestDatabase::on(readable_cluster());
        let sql = format!("SELECT raise('{sqlstate}', '{message}')");
        database.relay.take_recorded();
        let op = |txn: &mut dyn Sql, run| match run {
            1 | 2 => Ok(txn.execute(&sql)?),
            _ => Ok(()),
        };
        let mut driver: D = database.assert_transaction(op, ("Ok(", 3, &[]));
        // A pool can send a last ROLLBACK after `run_transaction` has returned.
        thread::sleep(Duration::from_millis(100));
        let sql = &[sql.as_str()][..];
        let Facts { begin, commit, .. } = D::FACTS;
        let expected = [begin, sql, first, sql, anew, commit].concat();
        assert_eq!(statements(&database.relay.take_recorded()), expected);
        assert_usable(&mut driver);
    }
}

/// Returns the recorded SQL texts that are statements of transactions or fail.
fn statements(recorded: &str) -> Vec<&str> {
    let known = [
        "BEGIN",
        "SET TRANSACTION",
        "SELECT raise",
        "ROLLBACK",
        "RELEASE",
    ];
    let messages = recorded.split('\0').filter_map(|message| {
        // The text follows the length of the message.
        let begins = known.iter().filter_map(|begin| message.find(begin)).min()?;
        Some(&message[begins..])
    });
    messages.collect()
}

#[derive(Debug, thiserror::Error)]
#[error("a wrapping with a source")]
struct Source(#[source] OpError);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Transparent(AnyError);

/// The documentation of each transaction.rs recommends this variant.
#[derive(Debug, thiserror::Error)]
enum WithAnyhow {
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn a_retry_error_is_found_in_all_wrappings<D: Driver>() {
    assert_retried::<D, _>(|error| Source(OpError::Database(error)));
    assert_retried::<D, _>(Transparent);
    assert_retried::<D, _>(|error| WithAnyhow::from(anyhow::Error::from_boxed(error)));
    assert_retried::<D, _>(|error| {
        WithAnyhow::from(anyhow::Error::from_boxed(error).context("the transfer"))
    });
}

fn assert_retried<D: Driver, E: Error + Send + Sync + 'static>(wrap: impl Fn(AnyError) -> E) {
    let database = TestDatabase::on(readable_cluster());
    let mut driver = D::connect(&database.url).unwrap();
    for (sqlstate, message) in RETRIES {
        let sql = format!("SELECT raise('{sqlstate}', '{message}')");
        let mut runs = 0;
        let result = driver.transact(|txn| {
            runs += 1;
            if runs < 3 {
                txn.execute(&sql).map_err(&wrap)
            } else {
                Ok(())
            }
        });
        assert!(result.is_ok() && runs == 3, "{message}: {result:?}");
        assert_usable(&mut driver);
    }
}

/// The commit fails and ends the transaction, so there is no savepoint to go back to.
fn a_retry_begins_a_new_transaction_if_the_savepoint_is_gone<D: Driver>() {
    for (sqlstate, message) in RETRIES {
        let database = TestDatabase::on(readable_cluster());
        let op = |txn: &mut dyn Sql, run| {
            txn.execute(&format!("INSERT INTO ledger VALUES ({run})"))?;
            if run < 3 {
                let answer = format!("INSERT INTO at_commit VALUES ('{sqlstate}', '{message}')");
                txn.execute(&answer)?;
            }
            Ok(())
        };
        let mut driver: D = database.assert_transaction(op, ("Ok(", 3, &[3]));
        assert_usable(&mut driver);
    }
}

/// With this setting CockroachDB fails the first three runs of a transaction. A new transaction counts
/// anew, so the third run switches it off.
fn retry_errors_that_cockroachdb_injects_are_retried<D: Driver>() {
    let database = TestDatabase::on(cockroach());
    let op = |txn: &mut dyn Sql, run| {
        txn.execute(&format!("SET inject_retry_errors_enabled = '{}'", run < 3))?;
        Ok(txn.execute("INSERT INTO ledger VALUES (1)")?)
    };
    let _: D = database.assert_transaction(op, ("Ok(", 3, &[1]));
}

/// Collects the log records of the retry functions in this process.
struct Records(Mutex<Vec<String>>);

impl log::Log for Records {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target().starts_with("crdb_")
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

static RECORDS: Records = Records(Mutex::new(Vec::new()));

/// All drivers at the same time: each takes 30 seconds.
#[test]
fn each_retry_is_logged_until_30_seconds_are_over_and_those_of_an_inner_transaction_do_not_multiply()
 {
    log::set_logger(&RECORDS).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    thread::scope(|scope| {
        macro_rules! spawn {
            ($kind:ident $module:ident $driver:ident ()) => {
                scope.spawn(assert_gives_up::<crdb_conformance::$driver>);
            };
        }
        crdb_conformance::for_each_driver!([spawn]());
    });
}

fn assert_gives_up<D: Driver>() {
    let began = Instant::now();
    let database = TestDatabase::on(readable_cluster());
    let mut inner = D::connect(&database.url).unwrap();
    let message = format!("could not serialize access, {}", D::FACTS.name);
    let sql = format!("SELECT raise('40001', '{message}')");
    let mut inner_runs = 0;
    let mut run_inner = || {
        inner.transact(|txn| {
            inner_runs += 1;
            txn.execute("INSERT INTO ledger VALUES (1)")?;
            Ok::<_, OpError>(txn.execute(&sql)?)
        })
    };
    // The inner transaction has a connection of its own, so that this is the same for all drivers.
    let outer = |_: &mut dyn Sql, _| {
        // The runtime of the outer transaction blocks this thread.
        let result = thread::scope(|scope| scope.spawn(&mut run_inner).join().unwrap());
        Ok(result.map_err(AnyError::from)?)
    };
    let expected = "Err(Operation(Database(Operation(";
    let _: D = database.assert_transaction(outer, (expected, 1, &[]));
    assert_usable(&mut inner);
    let seconds = began.elapsed().as_secs();
    assert!((29..60).contains(&seconds), "{seconds} s");
    let retries = inner_runs - 1;
    let mut expected: Vec<_> = (1..=retries)
        .map(|retry| format!("DEBUG retry {retry}: 40001 {message}"))
        .collect();
    expected.push(format!("WARN gave up after {retries} retries in"));
    // The outer one, whose error is the inner one's.
    expected.push("WARN gave up after 0 retries in".to_owned());
    let records = RECORDS.0.lock().unwrap().clone();
    let records = records.iter().filter(|line| line.ends_with(&message));
    let records: Vec<&String> = records.collect();
    let are_equal = |(line, expected): (&&String, &String)| line.starts_with(expected);
    assert_eq!(records.len(), expected.len());
    assert!(records.iter().zip(&expected).all(are_equal), "{records:?}");
}
