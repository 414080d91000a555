//! Many workers transfer between few accounts; afterwards the balances agree with the ledger.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use crate::test_database::{
    OpError, TestDatabase, assert_usable, clusters, cockroach, connect, for_each_driver,
};
use crate::workers::{Outcomes, assert_true, work};
use crdb_conformance::{Driver, TransactionError};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault, Kind, Point};

for_each_driver!(
    balances_agree_with_the_ledger_after_two_thousand_transfers,
    balances_agree_with_the_ledger_despite_faults,
    #[ignore = "needs CockroachDB"]
    no_worker_starves_if_accounts_are_read_without_a_lock,
);

const WORKERS: i64 = 8;
const TRANSFERS: i64 = 2_000;
const BALANCE: i64 = 20;

fn open_accounts(database: &TestDatabase) {
    database.execute(&format!("DELETE FROM accounts; INSERT INTO accounts VALUES (1, {BALANCE}), (2, {BALANCE}), (3, {BALANCE}), (4, {BALANCE})"));
}

/// Returns the accounts of a transfer.
fn accounts(entry: i64) -> [i64; 2] {
    [entry * 7 % 4 + 1, (entry * 7 + entry / 4 % 3 + 1) % 4 + 1]
}

/// Returns the outcomes of each worker.
fn all_work<D: Driver>(url: &DatabaseUrl, next: &AtomicI64) -> Vec<Outcomes> {
    in_all_workers(|| work::<D>(url, next, TRANSFERS, accounts))
}

fn in_all_workers<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.collect()
    })
}

/// Asserts that each worker has made a tenth of an equal share or more.
fn assert_progress<T>(workers: &[Vec<T>], transfers: i64) {
    let made: Vec<usize> = workers.iter().map(Vec::len).collect();
    let least = (transfers / WORKERS / 10) as usize;
    assert!(made.iter().all(|made| *made >= least), "{made:?}");
}

/// Asserts that the outcomes agree with the ledger, and the ledger with the balances. Returns how many
/// were done and how many are ambiguous.
fn assert_consistent<D: Driver>(database: &TestDatabase, outcomes: &Outcomes) -> [usize; 2] {
    let done = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    let is_ambiguous = |outcome: &_| matches!(outcome, Err(TransactionError::AmbiguousCommit(_)));
    let ambiguous = outcomes.iter().filter(|(_, outcome)| is_ambiguous(outcome));
    let counts = [done.count(), ambiguous.count()];
    let kind = database.cluster.kind();
    println!(
        "{} on {kind:?}: done and ambiguous {counts:?}",
        D::FACTS.name
    );
    assert_eq!(outcomes.len() as i64, TRANSFERS);

    let ledger: BTreeSet<i64> = database.entries::<D>().into_iter().collect();
    assert_true(outcomes, &ledger);
    let balances = database.balances::<D>();
    assert_eq!(balances.iter().sum::<i64>(), 4 * BALANCE, "{balances:?}");
    assert!(balances.iter().all(|balance| *balance >= 0), "{balances:?}");
    let mut from_ledger = [BALANCE; 4];
    for entry in &ledger {
        let [from, to] = accounts(*entry).map(|account| account as usize - 1);
        from_ledger[from] -= 1;
        from_ledger[to] += 1;
    }
    assert_eq!(balances, from_ledger);
    database.execute("UPDATE accounts SET balance = 100");
    assert_usable(&mut D::connect(&database.url).unwrap());
    counts
}

fn balances_agree_with_the_ledger_after_two_thousand_transfers<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        open_accounts(&database);
        let outcomes = all_work::<D>(&database.url, &AtomicI64::new(0));
        assert_progress(&outcomes, TRANSFERS);
        let outcomes = outcomes.into_iter().flatten().collect();
        let [done, ambiguous] = assert_consistent::<D>(&database, &outcomes);
        assert!(
            done > 1_000 && ambiguous == 0,
            "{done} done, {ambiguous} lost"
        );
    }
}

/// Only on CockroachDB: on PostgreSQL a transaction that reads without a lock always loses against a
/// worker that commits while it runs.
fn no_worker_starves_if_accounts_are_read_without_a_lock<D: Driver>() {
    let database = TestDatabase::on(cockroach());
    open_accounts(&database);
    let transfers = TRANSFERS / 2;
    let (next, connected) = (AtomicI64::new(0), Barrier::new(WORKERS as usize));
    let made = in_all_workers(|| {
        let mut driver: D = connect(&database.url);
        connected.wait();
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < transfers);
        let transfer = |number: i64| {
            let (from, to) = (number % 4 + 1, (number + 1) % 4 + 1);
            let transfer = driver.transact(|txn| {
                let read = format!("SELECT balance AS value FROM accounts WHERE id = {from}");
                let balance = txn.read(&read)?[0];
                let add = |account, change| {
                    format!("UPDATE accounts SET balance = balance + {change} WHERE id = {account}")
                };
                txn.execute(&add(from, -balance.min(1)))?;
                Ok::<_, OpError>(txn.execute(&add(to, balance.min(1)))?)
            });
            transfer.unwrap();
        };
        std::iter::from_fn(take).map(transfer).collect::<Vec<_>>()
    });
    assert_progress(&made, transfers);
    assert_eq!(database.balances::<D>().iter().sum::<i64>(), 4 * BALANCE);
}

/// The relay cuts connections, and the server is restarted once.
fn balances_agree_with_the_ledger_despite_faults<D: Driver>() {
    for kind in Kind::available().unwrap() {
        // Workers connect faster without TLS.
        let cluster = match kind {
            Kind::Cockroach => Cluster::start_as(kind),
            Kind::Postgres => Cluster::start_with_fault(Fault::NoTls),
        };
        let cluster = cluster.unwrap();
        let database = TestDatabase::on(&cluster);
        open_accounts(&database);
        let next = AtomicI64::new(0);
        let outcomes = thread::scope(|scope| {
            scope.spawn(|| cause_faults(&database, &next));
            let _end_of_faults = EndOfFaults(&next);
            all_work::<D>(&database.relayed, &next)
        });
        let outcomes = outcomes.into_iter().flatten().collect();
        // A commit may still be in progress after its connection was cut.
        thread::sleep(Duration::from_secs(1));
        assert_consistent::<D>(&database, &outcomes);
    }
}

/// Ends the faults when it is dropped, even if a worker panics.
struct EndOfFaults<'a>(&'a AtomicI64);

impl Drop for EndOfFaults<'_> {
    fn drop(&mut self) {
        self.0.store(TRANSFERS, Ordering::Relaxed);
    }
}

/// Causes a fault after every 25 transfers. With faults at fixed times, a driver that connects
/// slowly would never finish.
fn cause_faults(database: &TestDatabase, next: &AtomicI64) {
    for (fault, transfer) in (0..TRANSFERS).step_by(25).enumerate() {
        while next.load(Ordering::Relaxed) < transfer {
            thread::sleep(Duration::from_millis(1));
        }
        let fault = fault as u64;
        match fault % 4 {
            0 => database.relay.cut_all(),
            1 => database.relay.cut(Point::Turn(fault * 5 % 23 + 1)),
            _ => database.relay.cut(Point::Answer(fault * 7 % 31 + 1)),
        }
        if fault == 8 {
            database.cluster.restart(1).unwrap();
        }
    }
}
