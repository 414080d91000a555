//! `op` ends its transaction, or its connection is lost before the commit: `run_transaction` finds it out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::test_database::{
    OpError, TestDatabase, assert_outcome, assert_usable, clusters, create_raise,
    for_each_asynchronous_driver, for_each_driver,
};
use crdb_conformance::{Asynchronous, Driver, TransactionError};
use crdb_local_cluster::{Cluster, Kind};

for_each_driver!(
    an_op_that_ends_its_transaction_is_found_out_and_not_run_again,
    a_session_that_ends_before_the_commit_has_committed_nothing,
    the_retries_of_an_inner_transaction_do_not_multiply,
);

for_each_asynchronous_driver!(
    after_the_database_has_restarted_the_next_calls_succeed,
    an_exhausted_pool_is_no_connection,
);

/// The result of the last statement of `op`.
#[derive(Clone, Copy, Debug)]
enum Last {
    Succeeds,
    /// An error that `op` ignores.
    FailsUnnoticed,
    FailsByItself,
    AsksForRetry,
}

fn an_op_that_ends_its_transaction_is_found_out_and_not_run_again<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        // CockroachDB retries the first statement of a transaction by itself.
        let fails = match cluster.kind() {
            Kind::Postgres => {
                create_raise(&database);
                &["SELECT raise('40001', 'restart transaction: forced')"][..]
            }
            Kind::Cockroach => &["SELECT 1", "SELECT crdb_internal.force_retry('1h')"],
        };
        let mut driver = D::connect(&database.url).unwrap();
        let mut entry = 0;
        for end in [
            "COMMIT",
            "COMMIT; BEGIN",
            "ROLLBACK",
            "ROLLBACK; BEGIN",
            "RELEASE SAVEPOINT cockroach_restart",
        ] {
            for last in [
                Last::Succeeds,
                Last::FailsUnnoticed,
                Last::FailsByItself,
                Last::AsksForRetry,
            ] {
                let mut runs = 0;
                let result = driver.transact(|txn| {
                    runs += 1;
                    entry += 1;
                    txn.execute(&format!("INSERT INTO ledger VALUES ({entry})"))?;
                    txn.execute(end)?;
                    match last {
                        Last::Succeeds => Ok(()),
                        Last::FailsUnnoticed => {
                            let _ = txn.execute("SELECT no_such_column FROM ledger");
                            Ok(())
                        }
                        Last::FailsByItself => Err(OpError::Own),
                        Last::AsksForRetry => {
                            if cluster.kind() == Kind::Cockroach && !end.ends_with("BEGIN") {
                                txn.execute("BEGIN")?;
                            }
                            for sql in fails {
                                txn.execute(sql)?;
                            }
                            panic!("{fails:?} did not fail");
                        }
                    }
                });
                let case = format!("{} on {:?}, {end}, {last:?}", D::FACTS.name, cluster.kind());
                assert_outcome!(result, AmbiguousCommit, case);
                assert_eq!(runs, 1, "{case}");
                assert_usable(&mut driver);
            }
        }
    }
}

/// PostgreSQL closes the connection with 25P03. CockroachDB 21.2 does so in answer to the commit, whose
/// outcome is then not known.
fn a_session_that_ends_before_the_commit_has_committed_nothing<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        let database = TestDatabase::on(cluster);
        let limit = "&options=-c%20idle_in_transaction_session_timeout%3D300ms";
        let url = format!("{}{limit}", database.text).parse().unwrap();
        let mut driver = D::connect(&url).unwrap();
        let result = driver.transact(|txn| {
            txn.execute("INSERT INTO ledger VALUES (1)")?;
            thread::sleep(Duration::from_millis(900));
            Ok::<_, OpError>(())
        });
        assert_outcome!(result, Database, D::FACTS.name);
        assert_eq!(database.entries::<D>(), [0; 0]);
    }
}

/// The inner transaction has a connection of its own, so that this is the same for all drivers.
fn the_retries_of_an_inner_transaction_do_not_multiply<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == Kind::Postgres) {
        let database = TestDatabase::on(cluster);
        create_raise(&database);
        let [mut outer, mut inner] = [(); 2].map(|()| D::connect(&database.url).unwrap());
        let (mut outer_runs, mut inner_runs) = (0, 0);
        let mut run_inner = || {
            inner.transact_briefly(|txn| {
                inner_runs += 1;
                let fail = "SELECT raise('40001', 'could not serialize access')";
                Ok::<_, OpError>(txn.execute(fail)?)
            })
        };
        let result = outer.transact_briefly(|_| {
            outer_runs += 1;
            // The runtime of the outer transaction blocks this thread.
            thread::scope(|scope| scope.spawn(&mut run_inner).join().unwrap())
        });
        assert_outcome!(result, Operation, D::FACTS.name);
        assert!(inner_runs > 1, "{inner_runs} runs");
        assert_eq!(outer_runs, 1, "{inner_runs} inner runs");
    }
}

/// Keeps all connections of the pool busy for this time.
fn fill<D: Asynchronous>(driver: &D, sleep: &'static str) -> Vec<tokio::task::JoinHandle<()>> {
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
            let transfer = driver.transfer(1, 2, 1);
            assert!(
                transfer.is_ok(),
                "{} on {kind:?}: {transfer:?}",
                D::FACTS.name
            );
        }
    }
}

fn an_exhausted_pool_is_no_connection<D: Asynchronous>() {
    let database = TestDatabase::on(clusters().next().unwrap());
    let url = format!("{}&connect_timeout=1", database.text);
    let mut driver = D::connect(&url.parse().unwrap()).unwrap();
    let busy = fill(&driver, "2.5");
    let mut runs = 0;
    let result = driver.transact::<OpError>(|_| {
        runs += 1;
        Ok(())
    });
    assert!(
        matches!(result, Err(TransactionError::NoConnection(_))),
        "{}: {result:?}",
        D::FACTS.name
    );
    assert_eq!(runs, 0);
    for task in busy {
        driver.runtime().block_on(task).unwrap();
    }
}
