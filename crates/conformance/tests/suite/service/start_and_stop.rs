//! The start and the shutdown.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::sample;

use super::{Service, assert_not_done, free_port};
use crate::test_database::{TestDatabase, clusters, readable_cluster};

#[test]
fn without_a_database_the_service_does_not_start_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let url = "postgresql://demo:S3cret@localhost:1/?connect_timeout=1";
    let variables = [("DATABASE_URL", url), ("START_TIMEOUT", "1")];
    let ended = sample::run("service", directory.path(), &variables);
    assert_eq!(ended.status, Some(1));
    let reason = "could not connect to localhost:1: ";
    assert!(
        ended
            .stdout
            .contains(&format!("waiting for the database: {reason}"))
    );
    assert!(ended.stderr.starts_with(&format!("Error: {reason}")));
    assert!(!format!("{ended:?}").contains("S3cret"));
}

#[test]
fn tables_that_do_not_fit_are_refused_by_name() {
    let transfers = "CREATE TABLE transfers (request TEXT NOT NULL, status INT8 NOT NULL, \
                     answer TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL, key TEXT";
    #[rustfmt::skip]
    let rows = [
        ("accounts", "balance numeric", "ALTER TABLE accounts ALTER balance TYPE DECIMAL"),
        ("accounts", "owner text", "DELETE FROM accounts; ALTER TABLE accounts ADD owner TEXT NOT NULL"),
        ("accounts", "id bigint, and", "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey"),
        ("accounts", "are others", "DROP TABLE accounts; CREATE TABLE accounts (number SERIAL PRIMARY KEY)"),
        ("transfers", "key text, ", &format!("{transfers})")),
        ("transfers", "caller text, ", &format!("{transfers} PRIMARY KEY, caller TEXT NOT NULL)")),
    ];
    for (table, words, sql) in rows {
        let database = TestDatabase::on(readable_cluster());
        database.execute(sql);
        let directory = tempfile::tempdir().unwrap();
        let variables = [("DATABASE_URL", database.text.as_str())];
        let message = format!("Error: the table {table} does not fit");
        let ended = sample::run("service", directory.path(), &variables);
        let fits = ended.stderr.starts_with(&message) && ended.stderr.contains(words);
        assert!(fits && ended.status == Some(1), "{sql}: {ended:?}");
    }
}

#[test]
fn five_instances_start_at_once_on_an_empty_database() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        database.execute("DROP TABLE accounts");
        let start = |_| Service::begin(&database.text, free_port(), &[]);
        let services: Vec<_> = (0..5).map(start).collect();
        services.iter().for_each(Service::wait);
    }
}

#[test]
fn a_user_that_can_create_nothing_is_enough() {
    let database = TestDatabase::on(readable_cluster());
    drop(Service::start(&database.text, &[]));
    let sql = "CREATE ROLE app LOGIN PASSWORD 'app'";
    database.cluster.execute(sql).unwrap();
    database.execute(
        "GRANT SELECT, UPDATE ON accounts TO app; GRANT SELECT, INSERT ON transfers TO app",
    );
    let url = database.cluster.url_with("app", "app");
    let url = url.replace("/defaultdb?", &format!("/{}?", database.name));
    let service = Service::start(&url, &[]);
    assert_eq!(service.transfer("a").0, 200);
}

#[test]
fn sigterm_ends_a_start_that_waits_for_the_database() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgresql://demo@localhost:{port}/?connect_timeout=60");
    let mut service = Service::begin(&url, free_port(), &[]);
    let _connection = silent.accept().unwrap();
    service.terminate();
    assert!(service.process.wait().unwrap().success());
}

#[test]
fn it_listens_on_ipv6_and_ipv4_or_on_one_address() {
    let database = TestDatabase::on(readable_cluster());
    let connects = |address, port| TcpStream::connect((address, port)).is_ok();
    let service = Service::start(&database.text, &[]);
    assert!(connects("127.0.0.1", service.port) && connects("::1", service.port));
    let service = Service::start(&database.text, &[("ADDRESS", "127.0.0.1")]);
    assert!(connects("127.0.0.1", service.port) && !connects("::1", service.port));
}

#[test]
fn a_shutdown_goes_on_for_a_while_and_finishes_what_has_begun() {
    let database = TestDatabase::on(readable_cluster());
    let mut service = Service::start(&database.text, &[("SHUTDOWN_DELAY", "2")]);
    let lock = "BEGIN; SELECT * FROM accounts FOR UPDATE; SELECT pg_sleep(4); COMMIT";
    thread::scope(|scope| {
        scope.spawn(|| database.execute(lock));
        thread::sleep(Duration::from_millis(500));
        let begun = scope.spawn(|| service.transfer("a"));
        thread::sleep(Duration::from_millis(200));
        service.terminate();
        while service.get("/health/ready").0 == 200 {}
        assert_eq!(
            service.get("/accounts/1").0,
            200,
            "load balancers still send requests"
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        while service.get("/accounts/1").0 == 200 {
            assert!(Instant::now() < deadline, "it still accepts requests");
        }
        assert!(!begun.is_finished());
        assert_not_done(&service.transfer("b"));
        assert_eq!(begun.join().unwrap().0, 200);
    });
    assert!(service.process.wait().unwrap().success());
}
