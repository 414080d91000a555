//! The pools of the asynchronous drivers: a caller may drop the future of `run_transaction` at any
//! await point, and a pool that has no connection says so.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::{Asynchronous, TransactionError};
use crdb_local_cluster::{Cluster, Kind, Point, Relay};
use tokio::task::JoinHandle;

use crate::test_database::{TestDatabase, clusters, readable_cluster};

crdb_conformance::for_each_driver!(
    [crate::test_database::tests_of_asynchronous_driver] [
        no_write_is_lost_after_a_future_is_dropped,
        a_future_that_is_dropped_during_a_pause_leaves_no_trace,
        after_the_database_has_restarted_the_next_calls_succeed,
        an_exhausted_pool_is_no_connection
    ]
);

/// Starts a transaction that inserts an entry in its second run, and in its first run fails with
/// this message, if there is one.
fn spawn_transaction<D: Asynchronous>(
    driver: &D,
    first_failure: Option<&'static str>,
) -> JoinHandle<()> {
    driver.spawn(move |run| match first_failure {
        Some(message) if run == 1 => format!("SELECT raise('40001', '{message}')"),
        _ => "INSERT INTO ledger VALUES (1) ON CONFLICT DO NOTHING".to_owned(),
    })
}

/// Asserts that statements outside of transactions are committed, and that no transaction is open.
fn assert_no_trace<D: Asynchronous>(driver: &mut D, database: &TestDatabase) {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let first = NEXT.fetch_add(5, Ordering::Relaxed);
    for id in first..first + 5 {
        driver.insert_customers(&[(id, String::new())]).unwrap();
    }
    let inserted = format!("SELECT id AS value FROM customers WHERE id >= {first}");
    let inserted = database.read::<D>(&inserted);
    assert_eq!(inserted.len(), 5, "{}", D::FACTS.name);
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while database.cluster.kind() == Kind::Postgres && database.execute(open) != "0" {
        assert!(Instant::now() < deadline, "a transaction is open");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Drops the future at each message that it sends, and at each answer.
fn no_write_is_lost_after_a_future_is_dropped<D: Asynchronous>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let failures = match cluster.kind() {
            Kind::Postgres => &[
                None,
                Some("restart transaction: forced"),
                Some("could not serialize access"),
            ][..],
            Kind::Cockroach => &[None],
        };
        for first_failure in failures {
            for hold in [Point::Turn, Point::Answer] {
                let is_dropped = |turn: &u64| {
                    println!("{first_failure:?}, {:?}", hold(*turn));
                    one_future_is_dropped::<D>(&database, *first_failure, hold(*turn))
                };
                let dropped = (1..).take_while(is_dropped).count();
                assert!(dropped >= 3, "{dropped} await points, {first_failure:?}");
            }
        }
    }
}

/// Returns false if the transaction ended before the relay held anything back.
fn one_future_is_dropped<D: Asynchronous>(
    database: &TestDatabase,
    first_failure: Option<&'static str>,
    hold: Point,
) -> bool {
    // The end of an earlier connection is a turn, too.
    let relay = Relay::start(database.cluster.port()).unwrap();
    let host = format!("localhost:{}", relay.port());
    let mut driver = D::connect(&database.url.with("host", &host).unwrap()).unwrap();
    relay.hold(hold);
    let transaction = spawn_transaction(&driver, first_failure);
    let held = loop {
        let (is_finished, limit) = (transaction.is_finished(), Duration::from_millis(20));
        let held = relay.wait_until_holding(limit);
        if held || is_finished {
            break held;
        }
    };
    transaction.abort();
    let ended = driver.runtime().block_on(transaction);
    relay.release();
    if held {
        assert_no_trace(&mut driver, database);
    } else {
        ended.expect("the transaction is done");
    }
    held
}

/// Drops more futures than the pool has connections, each as soon as the server has answered the
/// ROLLBACK before the pause.
fn a_future_that_is_dropped_during_a_pause_leaves_no_trace<D: Asynchronous>() {
    let database = TestDatabase::on(readable_cluster());
    let mut driver = D::connect(&database.relayed).unwrap();
    // After those that begin: the statement that fails, and ROLLBACK.
    let messages = D::FACTS.begin.len() as u64 + 2;
    for _ in 0..6 {
        let before = database.relay.round_trips();
        let transaction = spawn_transaction(&driver, Some("could not serialize access"));
        while database.relay.round_trips() < before + messages {
            thread::sleep(Duration::from_micros(200));
        }
        transaction.abort();
        let _ = driver.runtime().block_on(transaction);
    }
    assert_no_trace(&mut driver, &database);
}

/// Keeps all connections of the pool busy for this time.
fn fill<D: Asynchronous>(driver: &D, sleep: &'static str) -> Vec<JoinHandle<()>> {
    let started: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let spawn = |_| {
        driver.spawn(move |_| {
            started.fetch_add(1, Ordering::Relaxed);
            format!("SELECT pg_sleep({sleep})")
        })
    };
    let tasks = (0..4).map(spawn).collect();
    while started.load(Ordering::Relaxed) < 4 {
        thread::sleep(Duration::from_millis(1));
    }
    tasks
}

fn after_the_database_has_restarted_the_next_calls_succeed<D: Asynchronous>() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let database = TestDatabase::on(&cluster);
        let mut driver = D::connect(&database.url).unwrap();
        for task in fill(&driver, "0.1") {
            driver.runtime().block_on(task).unwrap();
        }
        cluster.restart(1).unwrap();
        for _ in 0..5 {
            driver.transfer(1, 2).unwrap();
        }
    }
}

fn an_exhausted_pool_is_no_connection<D: Asynchronous>() {
    let database = TestDatabase::on(readable_cluster());
    let url = database.url.with("connect_timeout", "1").unwrap();
    let mut driver = D::connect(&url).unwrap();
    let busy = fill(&driver, "2.5");
    let result = driver.transfer(1, 2);
    let is_it = matches!(result, Err(TransactionError::NoConnection(_)));
    assert!(is_it, "{}: {result:?}", D::FACTS.name);
    for task in busy {
        driver.runtime().block_on(task).unwrap();
    }
}
