//! When `run_transaction` runs a transaction again, how, and how often.

use std::error::Error;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use crate::test_database::{
    OpError, TestDatabase, assert_usable, clusters, cockroach, create_raise, for_each_driver,
    operation, readable_cluster,
};
use crdb_conformance::{AnyError, Driver, Facts, Sql};
use crdb_local_cluster::Kind;

for_each_driver!(
    write_skew_makes_one_of_two_transactions_run_again,
    transfers_to_and_fro_wait_for_one_another,
    the_first_restart_is_in_place_and_every_other_retry_begins_a_new_transaction,
    each_retry_is_logged_and_after_the_last_one_its_error_comes_back,
    a_retry_error_is_found_in_all_wrappings,
    a_retry_begins_a_new_transaction_if_the_savepoint_is_gone,
    #[ignore = "needs CockroachDB"]
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
            D::FACTS.name,
            cluster.kind()
        );
        let balances = database.balances::<D>();
        assert_eq!(balances, [100, 100]);
    }
}

fn the_first_restart_is_in_place_and_every_other_retry_begins_a_new_transaction<D: Driver>() {
    let begin = &["BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart"][..];
    let in_place = &["ROLLBACK TO SAVEPOINT cockroach_restart"][..];
    let rollback = &["ROLLBACK TO SAVEPOINT cockroach_restart; ROLLBACK"];
    let anew = &[rollback, begin].concat()[..];
    for (code, message, [first, second]) in [
        ("40001", "restart transaction: forced", [in_place, anew]),
        ("40001", "could not serialize access", [anew, anew]),
        ("40P01", "deadlock detected", [anew, anew]),
    ] {
        let cluster = readable_cluster();
        let database = TestDatabase::on(cluster);
        create_force_retry(&database);
        let mut driver = D::connect(&database.relayed).unwrap();
        let op = format!("SELECT fail_first(2, '{code}', '{message}')");
        database.relay.take_recorded();
        driver
            .transact(|txn| Ok::<_, OpError>(txn.execute(&op)?))
            .unwrap();
        // A pool can send a last ROLLBACK after `run_transaction` has returned.
        thread::sleep(Duration::from_millis(100));
        let op = &[op.as_str()][..];
        let Facts { begin, commit, .. } = D::FACTS;
        let expected = [begin, op, first, op, second, op, commit].concat();
        assert_eq!(
            statements(&database.relay.take_recorded()),
            expected,
            "{message}"
        );
        assert_usable(&mut driver);
    }
}

/// Returns the recorded SQL texts that are statements of transactions or call `fail_first`.
fn statements(recorded: &str) -> Vec<&str> {
    let known = [
        "BEGIN",
        "SET TRANSACTION",
        "SELECT fail_first",
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

/// The documentation of each transaction.rs recommends this variant.
#[derive(Debug, thiserror::Error)]
enum WithAnyhow {
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn a_retry_error_is_found_in_all_wrappings<D: Driver>() {
    assert_retried::<D, _>(|error| error.map_err(|error| Outer(Inner(OpError::Database(error)))));
    assert_retried::<D, _>(|error| error.map_err(Transparent));
    assert_retried::<D, _>(|error| error.map_err(Transparent).map_err(TwiceTransparent));
    let anyhow = anyhow::Error::from_boxed;
    assert_retried::<D, _>(|error| error.map_err(|error| WithAnyhow::from(anyhow(error))));
    assert_retried::<D, _>(|error| {
        error.map_err(|error| WithAnyhow::from(anyhow(error).context("the transfer")))
    });
}

fn assert_retried<D: Driver, E: Error + Send + Sync + 'static>(
    wrap: impl Fn(Result<(), AnyError>) -> Result<(), E>,
) {
    let cluster = readable_cluster();
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

/// The commit fails and ends the transaction, so there is no savepoint to go back to.
fn a_retry_begins_a_new_transaction_if_the_savepoint_is_gone<D: Driver>() {
    let cluster = readable_cluster();
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

/// With this setting CockroachDB fails the first three runs of a transaction. A new transaction counts
/// anew, so the third run switches it off.
fn retry_errors_that_cockroachdb_injects_are_retried<D: Driver>() {
    let database = TestDatabase::on(cockroach());
    let mut driver = D::connect(&database.url).unwrap();
    let mut runs = 0;
    driver
        .transact(|txn| {
            runs += 1;
            txn.execute(&format!("SET inject_retry_errors_enabled = '{}'", runs < 3))?;
            Ok::<_, OpError>(txn.execute("INSERT INTO ledger VALUES (1)")?)
        })
        .unwrap();
    assert_eq!(runs, 3, "two injected failures");
    assert_eq!(database.entries::<D>(), [1]);
}

/// Collects the log records of all tests in this process.
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

fn each_retry_is_logged_and_after_the_last_one_its_error_comes_back<D: Driver>() {
    static RECORDS: Records = Records(Mutex::new(Vec::new()));
    // Another test may have set it.
    let _ = log::set_logger(&RECORDS);
    log::set_max_level(log::LevelFilter::Debug);
    let database = TestDatabase::on(readable_cluster());
    create_raise(&database);
    let mut driver = D::connect(&database.url).unwrap();
    let message = format!("could not serialize access, {}", D::FACTS.name);
    let sql = format!("SELECT raise('40001', '{message}')");
    let mut runs = 0;
    let failed = driver.transact_briefly(|txn| {
        runs += 1;
        txn.execute("INSERT INTO ledger VALUES (1)")?;
        Ok::<_, OpError>(txn.execute(&sql)?)
    });
    let last = operation(failed.unwrap_err());
    assert!(matches!(last, OpError::Database(_)), "{last:?}");
    assert_eq!(database.entries::<D>(), [0; 0]);
    assert_usable(&mut driver);
    let records = RECORDS.0.lock().unwrap();
    let mut found = records.iter().filter(|line| line.ends_with(&message));
    for retry in 1..runs {
        let expected = format!("DEBUG retry {retry}: 40001 {message}");
        assert_eq!(found.next(), Some(&expected));
    }
    let gave_up = format!(
        "WARN gave up after {} retries in 0.9 s: 40001 {message}",
        runs - 1
    );
    let gave_up_later = gave_up.replace("0.9 s", "1.0 s");
    let last = found.next().unwrap();
    assert!([gave_up, gave_up_later].contains(last), "{last}");
    assert_eq!(found.next(), None);
}
