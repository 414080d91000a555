//! Many workers, few accounts: whatever happens, the books are right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{World, assert_usable, clusters, for_each_driver};
use crdb_conformance::{Driver, Failed};
use crdb_connection::Config;
use crdb_local_cluster::{Cluster, Cut, Fault, Kind};

for_each_driver!(
    the_books_are_right_after_two_thousand_transfers,
    the_books_are_right_under_faults
);

const WORKERS: i64 = 8;
const TRANSFERS: i64 = 2_000;
const BALANCE: i64 = 20;

/// What a worker was told of each transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Done,
    Failed,
    Ambiguous,
}

fn open_accounts(world: &World) {
    world.execute(&format!("DELETE FROM accounts; INSERT INTO accounts VALUES (1, {BALANCE}), (2, {BALANCE}), (3, {BALANCE}), (4, {BALANCE})"));
}

/// Connects as long as it takes: the server may be starting up.
fn connect<D: Driver>(config: &Config) -> D {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match D::connect(config) {
            Ok(driver) => return driver,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Takes transfers by their numbers until there are none, each of 1 from an account to its neighbour.
fn work<D: Driver>(config: &Config, next: &AtomicI64) -> Vec<(i64, Told)> {
    let mut driver: D = connect(config);
    let mut told = Vec::new();
    loop {
        let entry = next.fetch_add(1, Ordering::Relaxed);
        if entry >= TRANSFERS {
            return told;
        }
        let (from, to) = (entry * 7 % 4 + 1, (entry * 7 + entry / 4 % 3 + 1) % 4 + 1);
        let outcome = driver.transfer_with_entry(entry, from, to);
        told.push((
            entry,
            match &outcome {
                Ok(()) => Told::Done,
                Err(Failed::AmbiguousCommit(_)) => Told::Ambiguous,
                Err(_) => Told::Failed,
            },
        ));
        let refused = matches!(&outcome, Err(Failed::Operation(error)) if error.to_string().contains("not enough"));
        if outcome.is_err() && !refused {
            driver = connect(config);
        }
    }
}

fn all_work<D: Driver>(config: &Config) -> BTreeMap<i64, Told> {
    let next = AtomicI64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| work::<D>(config, &next)))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    })
}

/// Done is in the ledger once, failed is not, ambiguous may be; no money was made or lost or borrowed.
fn assert_right<D: Driver>(world: &World, told: &BTreeMap<i64, Told>) {
    let count = |what: Told| told.values().filter(|told| **told == what).count();
    let (done, failed, ambiguous) = (
        count(Told::Done),
        count(Told::Failed),
        count(Told::Ambiguous),
    );
    println!(
        "{} on {:?}: {done} done, {failed} failed, {ambiguous} ambiguous",
        D::NAME,
        world.cluster.kind()
    );
    assert_eq!(told.len() as i64, TRANSFERS);

    let ledger: BTreeSet<i64> = world
        .read::<D>("SELECT entry AS value FROM ledger")
        .into_iter()
        .collect();
    for (entry, told) in told {
        match told {
            Told::Done => assert!(ledger.contains(entry), "{entry} was reported done"),
            Told::Failed => assert!(!ledger.contains(entry), "{entry} was reported failed"),
            Told::Ambiguous => {}
        }
    }
    let balances = world.read::<D>("SELECT balance AS value FROM accounts ORDER BY id");
    assert_eq!(balances.iter().sum::<i64>(), 4 * BALANCE, "{balances:?}");
    assert!(balances.iter().all(|balance| *balance >= 0), "{balances:?}");
    // The ledger and the accounts tell the same story.
    let mut from_ledger = [BALANCE; 4];
    for entry in &ledger {
        from_ledger[(entry * 7 % 4) as usize] -= 1;
        from_ledger[((entry * 7 + entry / 4 % 3 + 1) % 4) as usize] += 1;
    }
    assert_eq!(balances, from_ledger);
    world.execute("UPDATE accounts SET balance = 100");
    assert_usable(&mut D::connect(&world.config).unwrap());
}

fn the_books_are_right_after_two_thousand_transfers<D: Driver>() {
    for cluster in clusters() {
        let world = World::on(cluster);
        open_accounts(&world);
        let told = all_work::<D>(&world.config);
        assert!(told.values().filter(|told| **told == Told::Done).count() > 1_000);
        assert!(
            !told.values().any(|told| *told == Told::Ambiguous),
            "nothing was lost"
        );
        assert_right::<D>(&world, &told);
    }
}

/// The same while connections are cut at random and the server is restarted once.
fn the_books_are_right_under_faults<D: Driver>() {
    for kind in Kind::available().unwrap() {
        // What matters here is how often a worker can connect, not over what.
        let cluster = match kind {
            Kind::Cockroach => Cluster::start_as(kind),
            Kind::Postgres => Cluster::start_with_fault(Fault::NoTls),
        };
        let cluster = cluster.unwrap();
        let world = World::on(&cluster);
        open_accounts(&world);
        let finished = AtomicBool::new(false);
        let told = thread::scope(|scope| {
            scope.spawn(|| cause_faults(&world, &finished));
            let _finish = Finish(&finished);
            all_work::<D>(&world.relayed)
        });
        // A commit whose answer was cut off may still be under way.
        thread::sleep(Duration::from_secs(1));
        assert_right::<D>(&world, &told);
    }
}

/// Ends the faults, also when a worker panics.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn cause_faults(world: &World, finished: &AtomicBool) {
    for round in 1_u64.. {
        if finished.load(Ordering::Relaxed) {
            break;
        }
        match round % 4 {
            0 => world.relay.cut_all(),
            1 => world.relay.cut(Cut::BeforeTurn(round * 5 % 23 + 1)),
            _ => world.relay.cut(Cut::BeforeAnswer(round * 7 % 31 + 1)),
        }
        if round == 8 {
            world.cluster.restart().unwrap();
        }
        thread::sleep(Duration::from_millis(100 + round * 37 % 200));
    }
}
