//! Workers transfer while the first server of a host list stops. They continue on the second one,
//! and every outcome that they report is correct.

use std::collections::BTreeSet;

use crdb_conformance::Driver;
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault};

use crate::workers::{TRANSFERS, assert_few_lost, transfer_during, wait_for};

/// sqlx takes one host.
mod without_sqlx {
    use crdb_conformance::{Diesel, Postgres, TokioPostgres};

    #[test]
    fn workers_continue_on_the_second_server() {
        super::workers_continue_on_the_second_server::<Postgres>();
        super::workers_continue_on_the_second_server::<TokioPostgres>();
        super::workers_continue_on_the_second_server::<Diesel>();
    }
}

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

fn workers_continue_on_the_second_server<D: Driver>() {
    let (first, second) = (server(), server());
    let outcomes = transfer_during::<D>(&url([&first, &second]), |next| {
        wait_for(TRANSFERS / 4, next);
        first.stop().unwrap();
    });
    first.restart().unwrap();

    let (first, second) = (ledger(&first), ledger(&second));
    assert!(first.is_disjoint(&second), "no transfer was made twice");
    println!("{}: {} and {}", D::NAME, first.len(), second.len());
    assert_few_lost(&outcomes, &(&first | &second));
    assert!(first.len() > 50 && second.len() > 200);
}
