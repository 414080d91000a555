//! The recipes that each driver has.

use std::thread;

use crate::test_database::{TestDatabase, clusters, for_each_driver};
use crdb_conformance::Driver;

for_each_driver!(
    a_repeated_request_transfers_only_once,
    many_rows_are_inserted_once_and_read_in_order,
);

fn a_repeated_request_transfers_only_once<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        thread::scope(|scope| {
            for worker in 0..4 {
                let mut driver = D::connect(&database.url).unwrap();
                scope.spawn(move || {
                    for request in 0..10 {
                        driver.transfer_once(request + worker, [1, 2, 1]).unwrap();
                    }
                });
            }
        });
        // Each of the requests 0 to 12.
        assert_eq!(database.balances::<D>(), [100 - 13, 100 + 13]);
    }
}

fn many_rows_are_inserted_once_and_read_in_order<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let mut driver = D::connect(&database.url).unwrap();
        let customers: Vec<_> = (1..=2500)
            .map(|id| (id, format!("customer {id}")))
            .collect();
        driver.insert_customers(&customers[500..1500]).unwrap();
        driver.insert_customers(&customers).unwrap();
        let mut read = Vec::new();
        let each = |id, name| read.push((id, name));
        driver.read_customers(2400, each).unwrap();
        assert!(read == customers[..2400], "{} rows", read.len());
    }
}
