//! Workers transfer while the first server of a host list stops. They continue on the second one,
//! and every outcome that they report is correct.

use std::collections::BTreeSet;

use crdb_conformance::Driver;
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault};

use crate::connecting::refuses_host_list;
use crate::test_database::for_each_driver;
use crate::workers::{TRANSFERS, assert_few_lost, transfer_during, wait_for};

for_each_driver!(workers_continue_on_the_second_server_or_a_host_list_is_refused);

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

fn workers_continue_on_the_second_server_or_a_host_list_is_refused<D: Driver>() {
    let (first, second) = (server(), server());
    let url = url([&first, &second]);
    if refuses_host_list::<D>(&url) {
        return;
    }
    let outcomes = transfer_during::<D>(&url, |next| {
        wait_for(TRANSFERS / 4, next);
        first.kill(1).unwrap();
    });
    first.restart(1).unwrap();

    let (first, second) = (ledger(&first), ledger(&second));
    assert!(first.is_disjoint(&second), "no transfer was made twice");
    println!("{}: {} and {}", D::FACTS.name, first.len(), second.len());
    assert_few_lost(&outcomes, &(&first | &second));
    assert!(first.len() > 50 && second.len() > 200);
}
