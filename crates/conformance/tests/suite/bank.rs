//! Many workers transfer between few accounts while connections, the server or a node are lost. Each
//! outcome that they report is correct, and afterwards the balances agree with the ledger.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Barrier, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::test_database::{OpError, TestDatabase, cockroach, for_each_driver};
use crdb_conformance::{Driver, TransactionError};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault, Kind, Point};

for_each_driver!(
    balances_agree_with_the_ledger_despite_faults,
    #[ignore = "needs CockroachDB"]
    workers_continue_when_a_node_is_killed,
    #[ignore = "needs CockroachDB"]
    no_worker_starves_if_accounts_are_read_without_a_lock,
);

const WORKERS: usize = 8;
const TRANSFERS: i64 = 400;

fn open_accounts(database: &TestDatabase, balance: i64) {
    database.execute(&format!(
        "DELETE FROM accounts;
         INSERT INTO accounts SELECT id, {balance} FROM generate_series(1, 4) AS id"
    ));
}

/// Returns the accounts of a transfer.
fn accounts(number: i64) -> [i64; 2] {
    [
        number * 7 % 4 + 1,
        (number * 7 + number / 4 % 3 + 1) % 4 + 1,
    ]
}

fn in_all_workers<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.collect()
    })
}

/// The number of each transfer, and the outcome that was reported.
type Outcomes = Vec<(i64, Result<(), TransactionError>)>;

/// Connects; tries again while a server starts or stops.
fn connect<D: Driver>(url: &DatabaseUrl) -> D {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match D::connect(url) {
            Ok(driver) => return driver,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Takes the numbers of transfers until there are none left, and transfers 1 between the accounts
/// of each. After an error, except a refusal, it waits until a server accepts a connection, as a
/// service does, and keeps a pool.
fn work<D: Driver>(url: &DatabaseUrl, next: &AtomicI64) -> Outcomes {
    let mut driver: D = connect(url);
    let mut outcomes = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= TRANSFERS {
            return outcomes;
        }
        let [from, to] = accounts(number);
        let outcome = driver.transfer_once(number, [from, to, 1]);
        let refused = |error: &TransactionError| error.to_string().contains("not enough");
        if outcome.as_ref().is_err_and(|error| !refused(error)) {
            let connected = connect(url);
            if !D::FACTS.has_pool {
                driver = connected;
            }
        }
        outcomes.push((number, outcome));
    }
}

/// Lets all workers transfer while `cause_faults` runs, which gets the number of the next transfer.
/// Asserts that the outcomes agree with the ledger, and the ledger with the balances. Returns how many
/// transfers were not done.
fn transfer_during<D: Driver>(
    database: &TestDatabase,
    url: &DatabaseUrl,
    balance: i64,
    cause_faults: impl FnOnce(&AtomicI64) + Send,
) -> usize {
    open_accounts(database, balance);
    let next = AtomicI64::new(0);
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| cause_faults(&next));
        in_all_workers(|| work::<D>(url, &next))
    });
    let outcomes: Outcomes = outcomes.into_iter().flatten().collect();
    assert_eq!(outcomes.len() as i64, TRANSFERS);
    // A commit may still be in progress after its connection was cut.
    thread::sleep(Duration::from_secs(1));
    let ledger = database.read::<D>("SELECT id AS value FROM requests");
    let ledger: BTreeSet<i64> = ledger.into_iter().collect();
    for (number, outcome) in &outcomes {
        let found = ledger.contains(number);
        match outcome {
            Ok(()) => assert!(found, "{number} was reported as done"),
            Err(TransactionError::AmbiguousCommit(_)) => {}
            Err(error) => assert!(!found, "{number} was reported as not committed: {error}"),
        }
    }
    let mut expected = [balance; 4];
    for number in &ledger {
        let [from, to] = accounts(*number).map(|account| account as usize - 1);
        expected[from] -= 1;
        expected[to] += 1;
    }
    assert!(expected.iter().all(|balance| *balance >= 0), "{expected:?}");
    assert_eq!(database.balances::<D>(), expected);
    let lost = outcomes.iter().filter(|(_, outcome)| outcome.is_err());
    lost.count()
}

/// Waits until this transfer has begun.
fn wait_for(transfer: i64, next: &AtomicI64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while next.load(Ordering::Relaxed) < transfer {
        assert!(Instant::now() < deadline, "the workers do not go on");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The relay cuts connections after every 25 transfers, and the server is restarted once. With faults
/// at fixed times, a driver that connects slowly would never finish.
fn balances_agree_with_the_ledger_despite_faults<D: Driver>() {
    for kind in Kind::available().unwrap() {
        // Workers connect faster without TLS.
        let cluster = match kind {
            Kind::Cockroach => Cluster::start_as(kind),
            Kind::Postgres => Cluster::start_with_fault(Fault::NoTls),
        };
        let cluster = cluster.unwrap();
        let database = TestDatabase::on(&cluster);
        let cause_faults = |next: &AtomicI64| {
            for (fault, transfer) in (0..TRANSFERS as u64).step_by(25).enumerate() {
                wait_for(transfer as i64, next);
                let fault = fault as u64;
                match fault % 4 {
                    0 => database.relay.cut_all(),
                    1 => database.relay.cut(Point::Turn(fault * 5 % 23 + 1)),
                    _ => database.relay.cut(Point::Answer(fault * 7 % 31 + 1)),
                }
                if fault == 8 {
                    cluster.restart(1).unwrap();
                }
            }
        };
        let lost = transfer_during::<D>(&database, &database.relayed, 20, cause_faults);
        println!("{} on {kind:?}: {lost} not done", D::FACTS.name);
    }
}

/// A driver that takes one host connects to the second node, and another node is killed.
fn workers_continue_when_a_node_is_killed<D: Driver>() {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start_three_nodes().unwrap());
    // One node is killed at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut database = TestDatabase::on(&CLUSTER);
    if !D::FACTS.takes_host_list {
        let second = database.url.each_host().nth(1);
        database.url = second.unwrap();
    }
    let kill_a_node = |next: &AtomicI64| {
        wait_for(TRANSFERS / 4, next);
        // All workers of a host list are connected to it.
        CLUSTER.kill(1).unwrap();
        wait_for(TRANSFERS / 2, next);
        CLUSTER.restart(1).unwrap();
    };
    let lost = transfer_during::<D>(&database, &database.url, 1_000, kill_a_node);
    assert!(lost <= 4 * WORKERS, "{lost} transfers failed");
}

/// Only on CockroachDB: on PostgreSQL a transaction that reads without a lock always loses against a
/// worker that commits while it runs.
fn no_worker_starves_if_accounts_are_read_without_a_lock<D: Driver>() {
    let database = TestDatabase::on(cockroach());
    open_accounts(&database, 20);
    let (next, connected) = (AtomicI64::new(0), Barrier::new(WORKERS));
    let made = in_all_workers(|| {
        let mut driver = D::connect(&database.url).unwrap();
        connected.wait();
        let mut made = 0;
        while next.fetch_add(1, Ordering::Relaxed) < TRANSFERS {
            let [from, to] = accounts(made);
            let transfer = driver.transact(|txn| {
                let read = format!("SELECT balance AS value FROM accounts WHERE id = {from}");
                let amount = txn.read(&read)?[0].min(1);
                for (account, change) in [(from, -amount), (to, amount)] {
                    txn.execute(&format!(
                        "UPDATE accounts SET balance = balance + {change} WHERE id = {account}"
                    ))?;
                }
                Ok::<_, OpError>(())
            });
            transfer.unwrap();
            made += 1;
        }
        made
    });
    // A tenth of an equal share.
    let least = TRANSFERS / WORKERS as i64 / 10;
    assert!(made.iter().all(|made| *made >= least), "{made:?}");
    assert_eq!(database.balances::<D>().iter().sum::<i64>(), 80);
}
