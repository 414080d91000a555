//! Workers transfer while the first server of a host list stops. They continue on the second one,
//! and every outcome that they report is correct.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::{Driver, TransactionError};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault};

use crate::test_database::connect;

/// SeaORM takes one host.
mod without_sea_orm {
    use crdb_conformance::{Diesel, Postgres, TokioPostgres};

    #[test]
    fn workers_continue_on_the_second_server() {
        super::workers_continue_on_the_second_server::<Postgres>();
        super::workers_continue_on_the_second_server::<TokioPostgres>();
        super::workers_continue_on_the_second_server::<Diesel>();
    }
}

const WORKERS: usize = 4;
const TRANSFERS: i64 = 400;
const STOP_AFTER: i64 = 100;

/// Starts a PostgreSQL server with a user and tables. The servers have the same user and password,
/// and do not replicate: each has its own ledger.
fn server() -> Cluster {
    let cluster = Cluster::start_with_fault(Fault::NoTls).unwrap();
    cluster
        .execute("CREATE ROLE worker LOGIN PASSWORD 'secret'")
        .unwrap();
    cluster
        .execute("CREATE DATABASE books OWNER worker")
        .unwrap();
    let tables = "SET ROLE worker;
         CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
         CREATE TABLE ledger (entry INT8 PRIMARY KEY);
         INSERT INTO accounts VALUES (1, 1000), (2, 1000)";
    cluster.execute_in("books", tables).unwrap();
    cluster
}

/// Returns a connection string with both servers as hosts.
fn url(servers: [&Cluster; 2]) -> DatabaseUrl {
    let [first, second] = servers.map(Cluster::port);
    let url = format!(
        "postgresql://worker:secret@localhost:{first},localhost:{second}/books\
         ?sslmode=disable&connect_timeout=5"
    );
    url.parse().unwrap()
}

fn ledger(server: &Cluster) -> BTreeSet<i64> {
    let entries = server
        .execute_in("books", "SELECT entry FROM ledger")
        .unwrap();
    entries
        .lines()
        .map(|entry| entry.parse().unwrap())
        .collect()
}

/// Transfers until all entries are taken. After an error, tokio-postgres keeps its pool, and the
/// other drivers connect again.
fn work<D: Driver>(
    url: &DatabaseUrl,
    next: &AtomicI64,
) -> Vec<(i64, Result<(), TransactionError>)> {
    let mut driver = D::connect(url).unwrap();
    let mut outcomes = Vec::new();
    loop {
        let entry = next.fetch_add(1, Ordering::Relaxed);
        if entry >= TRANSFERS {
            return outcomes;
        }
        let (from, to) = if entry % 2 == 0 { (1, 2) } else { (2, 1) };
        let outcome = driver.transfer_with_entry(entry, from, to);
        if outcome.is_err() && D::NAME != "tokio-postgres" {
            driver = connect(url);
        }
        outcomes.push((entry, outcome));
    }
}

fn workers_continue_on_the_second_server<D: Driver>() {
    let (first, second) = (server(), server());
    let url = url([&first, &second]);
    let next = AtomicI64::new(0);
    let started = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| work::<D>(&url, &next)))
            .collect();
        while next.load(Ordering::Relaxed) < STOP_AFTER {
            assert!(started.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(1));
        }
        first.stop().unwrap();
        let stopped = Instant::now();
        let outcomes = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        let outcomes = outcomes.collect();
        println!("{}: {:?} after the stop", D::NAME, stopped.elapsed());
        outcomes
    });
    first.restart().unwrap();

    let (first, second) = (ledger(&first), ledger(&second));
    assert!(first.is_disjoint(&second), "no transfer was made twice");
    let mut lost = 0;
    for (entry, outcome) in &outcomes {
        let found = first.contains(entry) || second.contains(entry);
        match outcome {
            Ok(()) => assert!(found, "{entry} was reported as done"),
            Err(TransactionError::AmbiguousCommit(_)) => lost += 1,
            Err(error) => {
                assert!(!found, "{entry} was reported as not committed: {error}");
                println!("{entry}: {error}");
                lost += 1;
            }
        }
    }
    println!(
        "{}: {} on the first server, {} on the second, {lost} not done",
        D::NAME,
        first.len(),
        second.len()
    );
    assert_eq!(outcomes.len() as i64, TRANSFERS);
    assert!(first.len() > 50 && second.len() > 200);
    assert!(lost <= 4 * WORKERS, "{lost} transfers failed");
}
