//! Workers that transfer while connections or a server are lost, and their outcomes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::{Driver, TransactionError};
use crdb_connection::DatabaseUrl;

use crate::test_database::connect;

const WORKERS: usize = 4;
pub const TRANSFERS: i64 = 400;

/// The number of each transfer, and the outcome that was reported.
pub type Outcomes = Vec<(i64, Result<u32, TransactionError>)>;

/// Makes 400 transfers, and causes a loss while they run. It gets the number of the next transfer.
pub fn transfer_during<D: Driver>(url: &DatabaseUrl, loss: impl FnOnce(&AtomicI64)) -> Outcomes {
    let next = AtomicI64::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| work::<D>(url, &next, TRANSFERS, to_and_fro)))
            .collect();
        loss(&next);
        let lost = Instant::now();
        let outcomes = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        let outcomes = outcomes.collect();
        println!("{}: {:?} after the loss", D::FACTS.name, lost.elapsed());
        outcomes
    })
}

fn to_and_fro(entry: i64) -> [i64; 2] {
    if entry % 2 == 0 { [1, 2] } else { [2, 1] }
}

/// Waits until this transfer has begun.
pub fn wait_for(transfer: i64, next: &AtomicI64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while next.load(Ordering::Relaxed) < transfer {
        assert!(Instant::now() < deadline, "the workers do not go on");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes the numbers of transfers until there are none left, and transfers 1 between the accounts
/// of each. After an error, except a refusal, it waits until a server accepts a connection, as a
/// service does, and keeps a pool.
pub fn work<D: Driver>(
    url: &DatabaseUrl,
    next: &AtomicI64,
    transfers: i64,
    accounts: fn(i64) -> [i64; 2],
) -> Outcomes {
    let mut driver: D = connect(url);
    let mut outcomes = Vec::new();
    loop {
        let entry = next.fetch_add(1, Ordering::Relaxed);
        if entry >= transfers {
            return outcomes;
        }
        let [from, to] = accounts(entry);
        let outcome = driver.transfer_with_entry(Some(entry), from, to, 1);
        let refused = |error: &TransactionError| error.to_string().contains("not enough");
        if outcome.as_ref().is_err_and(|error| !refused(error)) {
            let connected = connect(url);
            if !D::FACTS.has_pool {
                driver = connected;
            }
        }
        outcomes.push((entry, outcome));
    }
}

/// Asserts that each transfer that was done is in the ledger, and that none that was reported as not
/// committed is in it.
pub fn assert_true(outcomes: &Outcomes, ledger: &BTreeSet<i64>) {
    for (entry, outcome) in outcomes {
        let found = ledger.contains(entry);
        match outcome {
            Ok(_) => assert!(found, "{entry} was reported as done"),
            Err(TransactionError::AmbiguousCommit(_)) => {}
            Err(error) => assert!(!found, "{entry} was reported as not committed: {error}"),
        }
    }
}

/// Asserts that the outcomes agree with the ledger, and that the workers lost few transfers.
pub fn assert_few_lost(outcomes: &Outcomes, ledger: &BTreeSet<i64>) {
    assert_true(outcomes, ledger);
    assert_eq!(outcomes.len() as i64, TRANSFERS);
    let lost: Vec<_> = outcomes.iter().filter(|(_, o)| o.is_err()).collect();
    println!("{} in the ledger, not done: {lost:?}", ledger.len());
    assert!(lost.len() <= 4 * WORKERS, "{} transfers failed", lost.len());
}
