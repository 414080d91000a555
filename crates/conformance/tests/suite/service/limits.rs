//! How much the service takes on, and for how long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::Postgres;
use crdb_local_cluster::Point;

use super::{Service, assert_not_done};
use crate::test_database::{TestDatabase, readable_cluster};

const LOCK: &str =
    "BEGIN; SELECT * FROM accounts WHERE id = 1 FOR UPDATE; SELECT pg_sleep(3); COMMIT";

/// Lets clients transfer for 5 seconds. Returns how many answers were 200.
fn load(service: &Service, clients: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(5);
    let number = AtomicUsize::new(0);
    let made = AtomicUsize::new(0);
    let send = || {
        while Instant::now() < end {
            let key = format!("{clients}-{}", number.fetch_add(1, Ordering::Relaxed));
            match service.transfer(&key) {
                (200, _) => made.fetch_add(1, Ordering::Relaxed),
                answer => {
                    assert_not_done(&answer);
                    thread::sleep(Duration::from_secs(1));
                    0
                }
            };
        }
    };
    thread::scope(|scope| (0..clients).for_each(|_| drop(scope.spawn(send))));
    made.into_inner()
}

#[test]
fn overload_takes_no_answer_away() {
    let database = TestDatabase::on(readable_cluster());
    database.execute("UPDATE accounts SET balance = 100000");
    database.relay.set_delay(Duration::from_millis(20));
    let service = Service::start(&database.relayed_text, &[]);
    let few = load(&service, 8);
    let many = load(&service, 250);
    println!("8 clients: {few} answers, 250 clients: {many}");
    // It was none at all when each request waited for the pool.
    assert!(many * 3 > few, "{few} and {many}");
    // Nothing was done that was not answered.
    let stored = database.execute("SELECT count(*) FROM transfers");
    assert_eq!(stored, (few + many).to_string());
    assert_eq!(service.get("/health/ready").0, 200);
}

#[test]
fn a_request_that_is_too_much_is_refused_at_once() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, &[("MAX_REQUESTS", "1")]);
    thread::scope(|scope| {
        let lock = scope.spawn(|| database.execute(LOCK));
        thread::sleep(Duration::from_millis(500));
        let waits = scope.spawn(|| service.transfer("a"));
        thread::sleep(Duration::from_millis(500));
        assert_not_done(&service.transfer("b"));
        assert_eq!(service.get("/health/ready").0, 200);
        assert!(!lock.is_finished(), "the answers did not wait for the lock");
        assert_eq!(waits.join().unwrap().0, 200);
    });
    assert_eq!(database.balances::<Postgres>(), [99, 101]);
}

#[test]
fn a_locked_row_does_not_stop_the_others() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, &[("REQUEST_TIMEOUT", "4")]);
    let lock = LOCK.replace("pg_sleep(3)", "pg_sleep(9)");
    thread::scope(|scope| {
        let lock = scope.spawn(|| database.execute(&lock));
        thread::sleep(Duration::from_millis(500));
        for key in ["a", "b", "c", "d"] {
            let service = &service;
            scope.spawn(move || assert_not_done(&service.transfer(key)));
        }
        thread::sleep(Duration::from_millis(500));
        while service.get("/accounts/2").0 != 200 {}
        assert!(!lock.is_finished(), "the others waited for the lock");
    });
    assert_eq!(database.balances::<Postgres>(), [100, 100]);
}

#[test]
fn a_connection_that_hangs_is_given_up() {
    let database = TestDatabase::on(readable_cluster());
    let limits = [("REQUEST_TIMEOUT", "4"), ("POOL_SIZE", "1")];
    let service = Service::start(&database.relayed_text, &limits);
    // The relay holds back the statement that comes next, which can also be that of the health check.
    let hung = (0..50).find_map(|number| {
        database.relay.hold(Point::Turn(1));
        let answer = service.transfer(&number.to_string());
        (answer.0 != 200).then_some(answer)
    });
    assert_not_done(&hung.expect("a transfer hangs"));
    // The relay still holds it back.
    assert_eq!(service.transfer("next").0, 200);
}

#[test]
fn silent_clients_lose_their_connection_and_do_not_hold_a_shutdown() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, &[("CLIENT_TIMEOUT", "1")]);
    assert_eq!(service.send(""), "");
    assert_eq!(service.send("GET /accounts/1 HTTP/1.1\r\nHost:"), "");
    let idle = service.send("GET /accounts/1 HTTP/1.1\r\nHost: service\r\n\r\n");
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");

    let limits = [("CLIENT_TIMEOUT", "60"), ("SHUTDOWN_DELAY", "0")];
    let mut service = Service::start(&database.text, &limits);
    let mut silent = TcpStream::connect(("localhost", service.port)).unwrap();
    silent.write_all(b"GET /accounts").unwrap();
    assert_eq!(service.get("/health/live").0, 200);
    service.terminate();
    assert!(service.process.wait().unwrap().success());
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}
