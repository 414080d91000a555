//! A caller may drop the future of an asynchronous `run_transaction` at any await point.

use std::time::{Duration, Instant};

use crdb_conformance::{Driver, SeaOrm, TokioPostgres};
use crdb_local_cluster::{Hold, Kind};
use sea_orm::{ConnectionTrait, DbErr};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::test_database::{TestDatabase, clusters, create_raise};

/// A driver whose `run_transaction` is a future.
trait Asynchronous: Driver {
    fn runtime(&self) -> &Runtime;

    /// Starts a transaction that inserts entry 1 in its second run, and in its first run fails with
    /// this message, if there is one.
    fn spawn_transaction(&self, first_failure: Option<&'static str>) -> JoinHandle<()>;

    /// Inserts an entry with a plain statement.
    fn insert(&self, entry: u64);
}

/// The statement of one run.
fn statement(run: u32, first_failure: Option<&str>) -> String {
    match first_failure {
        Some(message) if run == 1 => format!("SELECT raise('40001', '{message}')"),
        _ => "INSERT INTO ledger VALUES (1)".to_owned(),
    }
}

impl Asynchronous for SeaOrm {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn spawn_transaction(&self, first_failure: Option<&'static str>) -> JoinHandle<()> {
        let db = self.db.clone();
        let first_failure = first_failure.map(str::to_owned);
        self.runtime.spawn(async move {
            let mut run = 0;
            let op = async move |txn: &sea_orm::DatabaseTransaction| {
                run += 1;
                txn.execute_unprepared(&statement(run, first_failure.as_deref()))
                    .await?;
                Ok::<_, DbErr>(())
            };
            crdb_sea_orm::run_transaction(&db, op).await.unwrap();
        })
    }

    fn insert(&self, entry: u64) {
        let sql = format!("INSERT INTO ledger VALUES ({entry})");
        let insert = self.db.execute_unprepared(&sql);
        self.runtime.block_on(insert).unwrap();
    }
}

impl Asynchronous for TokioPostgres {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn spawn_transaction(&self, first_failure: Option<&'static str>) -> JoinHandle<()> {
        let pool = self.pool.clone();
        let first_failure = first_failure.map(str::to_owned);
        self.runtime.spawn(async move {
            let mut run = 0;
            let op = async move |txn: &tokio_postgres::Client| {
                run += 1;
                txn.batch_execute(&statement(run, first_failure.as_deref()))
                    .await
            };
            crdb_tokio_postgres::run_transaction(&pool, op)
                .await
                .unwrap();
        })
    }

    fn insert(&self, entry: u64) {
        let sql = format!("INSERT INTO ledger VALUES ({entry})");
        self.runtime.block_on(async {
            let client = self.pool.get().await.unwrap();
            client.batch_execute(&sql).await.unwrap();
        });
    }
}

/// Drops the future at each message that it sends, and at each answer.
fn no_later_write_is_lost<D: Asynchronous>() {
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
            for hold in [Hold::Turn, Hold::Answer] {
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
    hold: Hold,
) -> bool {
    let database = TestDatabase::on(cluster);
    if cluster.kind() == Kind::Postgres {
        create_raise(&database);
    }
    let driver = D::connect(&database.relayed).unwrap();
    database.relay.hold(hold);
    let transaction = driver.spawn_transaction(first_failure);
    let held = database.relay.wait_until_holding(Duration::from_secs(1));
    transaction.abort();
    let ended = driver.runtime().block_on(transaction);
    database.relay.release();
    if !held {
        ended.expect("the transaction is done");
        return false;
    }

    for entry in [11, 12] {
        driver.insert(entry);
    }
    let entries = database.read::<D>("SELECT entry AS value FROM ledger WHERE entry > 10");
    assert_eq!(entries.len(), 2, "{} {first_failure:?}, {hold:?}", D::NAME);
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
        // BEGIN, the statement that fails, and ROLLBACK. SeaORM sends the savepoint after BEGIN.
        let messages = if D::NAME == "sea-orm" { 4 } else { 3 };
        for _ in 0..6 {
            let before = database.relay.round_trips();
            let transaction = driver.spawn_transaction(Some("could not serialize access"));
            while database.relay.round_trips() < before + messages {
                std::thread::sleep(Duration::from_micros(200));
            }
            transaction.abort();
            let _ = driver.runtime().block_on(transaction);
            database.execute("DELETE FROM ledger");
        }
        assert_none_is_open(&database);
        for entry in 11..20 {
            driver.insert(entry);
        }
        let entries = database.read::<D>("SELECT count(*) AS value FROM ledger WHERE entry > 10");
        assert_eq!(entries, [9], "{}", D::NAME);
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

#[test]
fn nothing_is_left_open_after_a_future_is_dropped_during_a_pause() {
    a_future_that_is_dropped_during_a_pause_leaves_no_trace::<SeaOrm>();
    a_future_that_is_dropped_during_a_pause_leaves_no_trace::<TokioPostgres>();
}

#[test]
fn no_write_is_lost_after_a_future_is_dropped() {
    std::thread::scope(|scope| {
        scope.spawn(no_later_write_is_lost::<SeaOrm>);
        scope.spawn(no_later_write_is_lost::<TokioPostgres>);
    });
}
