//! A caller may drop the future of an asynchronous `run_transaction` at any await point.

use std::ops::Range;
use std::time::{Duration, Instant};

use crdb_conformance::Asynchronous;
use crdb_local_cluster::{Kind, Point};
use tokio::task::JoinHandle;

use crate::test_database::{TestDatabase, clusters, create_raise, for_each_asynchronous_driver};

for_each_asynchronous_driver!(
    no_write_is_lost_after_a_future_is_dropped,
    a_future_that_is_dropped_during_a_pause_leaves_no_trace,
);

/// Starts a transaction that inserts entry 1 in its second run, and in its first run fails with
/// this message, if there is one.
fn spawn_transaction<D: Asynchronous>(
    driver: &D,
    first_failure: Option<&'static str>,
) -> JoinHandle<()> {
    driver.spawn(move |run| match first_failure {
        Some(message) if run == 1 => format!("SELECT raise('40001', '{message}')"),
        _ => "INSERT INTO ledger VALUES (1)".to_owned(),
    })
}

/// Inserts these entries with plain statements, and asserts that they are committed.
fn assert_inserts<D: Asynchronous>(driver: &D, database: &TestDatabase, entries: Range<i64>) {
    for entry in entries.clone() {
        let insert = format!("INSERT INTO ledger VALUES ({entry})");
        driver.execute(&insert).unwrap();
    }
    let inserted = database.read::<D>("SELECT entry AS value FROM ledger WHERE entry > 10");
    assert_eq!(inserted.len(), entries.count(), "{}", D::FACTS.name);
}

/// Drops the future at each message that it sends, and at each answer.
fn no_write_is_lost_after_a_future_is_dropped<D: Asynchronous>() {
    for cluster in clusters() {
        let failures = match cluster.kind() {
            Kind::Postgres => vec![
                None,
                Some("restart transaction: forced"),
                Some("could not serialize access"),
            ],
            Kind::Cockroach => vec![None],
        };
        for first_failure in failures {
            for hold in [Point::Turn, Point::Answer] {
                let mut dropped = 0;
                for turn in 1.. {
                    if !one_future_is_dropped::<D>(cluster, first_failure, hold(turn)) {
                        break;
                    }
                    dropped += 1;
                }
                assert!(dropped >= 3, "{dropped} await points, {first_failure:?}");
            }
        }
    }
}

/// Returns false if the transaction ended before the relay held anything back.
fn one_future_is_dropped<D: Asynchronous>(
    cluster: &crdb_local_cluster::Cluster,
    first_failure: Option<&'static str>,
    hold: Point,
) -> bool {
    let database = TestDatabase::on(cluster);
    if cluster.kind() == Kind::Postgres {
        create_raise(&database);
    }
    let driver = D::connect(&database.relayed).unwrap();
    database.relay.hold(hold);
    let transaction = spawn_transaction(&driver, first_failure);
    let held = database.relay.wait_until_holding(Duration::from_secs(1));
    transaction.abort();
    let ended = driver.runtime().block_on(transaction);
    database.relay.release();
    if !held {
        ended.expect("the transaction is done");
        return false;
    }

    println!("{} {first_failure:?}, {hold:?}", D::FACTS.name);
    assert_inserts(&driver, &database, 11..13);
    if cluster.kind() == Kind::Postgres {
        assert_none_is_open(&database);
    }
    true
}

/// Drops more futures than the pool has connections, each as soon as the server has answered the
/// ROLLBACK before the pause.
fn a_future_that_is_dropped_during_a_pause_leaves_no_trace<D: Asynchronous>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        let database = TestDatabase::on(cluster);
        create_raise(&database);
        let driver = D::connect(&database.relayed).unwrap();
        // After those that begin: the statement that fails, and ROLLBACK.
        let messages = D::FACTS.begin.len() as u64 + 2;
        for _ in 0..6 {
            let before = database.relay.round_trips();
            let transaction = spawn_transaction(&driver, Some("could not serialize access"));
            while database.relay.round_trips() < before + messages {
                std::thread::sleep(Duration::from_micros(200));
            }
            transaction.abort();
            let _ = driver.runtime().block_on(transaction);
            database.execute("DELETE FROM ledger");
        }
        assert_none_is_open(&database);
        assert_inserts(&driver, &database, 11..20);
    }
}

/// Asserts that no connection to this database has an open transaction.
fn assert_none_is_open(database: &TestDatabase) {
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while database.execute(open) != "0" {
        assert!(Instant::now() < deadline, "a transaction is open");
        std::thread::sleep(Duration::from_millis(20));
    }
}
