//! The network round trips of a transfer, counted by the relay.

use std::thread;
use std::time::Duration;

use crate::test_database::{OpError, TestDatabase, clusters, for_each_driver, readable_cluster};
use crdb_conformance::Driver;
use crdb_local_cluster::Relay;

for_each_driver!(
    a_transfer_takes_the_round_trips_that_the_documentation_says,
    a_retry_in_a_new_transaction_takes_the_round_trips_that_are_known
);

/// At a distance, the server does not answer the first of two statements that are sent together
/// before the second has left the client.
const DELAY: Duration = Duration::from_millis(5);

/// Waits until nothing passes, and returns the round trips so far: a pool can ping a connection after
/// `run_transaction` has returned.
fn settled(relay: &Relay) -> u64 {
    loop {
        let before = relay.round_trips();
        thread::sleep(Duration::from_millis(300));
        if relay.round_trips() == before {
            return before;
        }
    }
}

fn a_transfer_takes_the_round_trips_that_the_documentation_says<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        database.relay.set_delay(DELAY);
        let mut driver = D::connect(&database.relayed).unwrap();
        driver.transfer(1, 2).unwrap();
        for (from, to) in [(1, 2), (2, 1)] {
            let before = settled(&database.relay);
            driver.transfer(from, to).unwrap();
            let cost = settled(&database.relay) - before;
            assert_eq!(cost, D::FACTS.round_trips.transfer);
        }
    }
}

/// `op` fails in its first statement and is run once more.
fn a_retry_in_a_new_transaction_takes_the_round_trips_that_are_known<D: Driver>() {
    let database = TestDatabase::on(readable_cluster());
    database.relay.set_delay(DELAY);
    let mut driver = D::connect(&database.relayed).unwrap();
    driver.transfer(1, 2).unwrap();
    let before = settled(&database.relay);
    let mut runs = 0;
    let result = driver.transact(|txn| {
        runs += 1;
        if runs == 1 {
            txn.execute("SELECT raise('40001', 'could not serialize access')")?;
        }
        for account in [1, 2, 1] {
            let sql = format!("UPDATE accounts SET balance = balance WHERE id = {account}");
            txn.execute(&sql)?;
        }
        Ok::<_, OpError>(())
    });
    result.unwrap();
    let cost = settled(&database.relay) - before;
    assert_eq!((runs, cost), (2, D::FACTS.round_trips.retry));
}
