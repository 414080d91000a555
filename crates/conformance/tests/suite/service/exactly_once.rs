//! Each transfer is executed exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crdb_conformance::Postgres;
use crdb_local_cluster::{Cluster, Kind, Point};

use super::{Service, request};
use crate::test_database::{TestDatabase, clusters};

#[test]
fn one_key_from_twenty_clients_is_one_transfer() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let service = Service::start(&database.text, &[]);
        let send = || {
            loop {
                match service.transfer("a") {
                    (503, _) => thread::sleep(Duration::from_millis(50)),
                    answer => return answer,
                }
            }
        };
        let answers: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> = (0..20).map(|_| scope.spawn(send)).collect();
            let answers = clients.into_iter().map(|client| client.join().unwrap());
            answers.collect()
        });
        let answer = (200, r#"{"balances":{"1":"99","2":"101"}}"#.to_owned());
        assert_eq!(answers, vec![answer; 20]);
        assert_eq!(database.balances::<Postgres>(), [99, 101]);
    }
}

const CLIENTS: u64 = 16;
const TRANSFERS: u64 = 50;

/// The accounts and the amount of a transfer.
type Transfer = [i64; 3];

/// Sends each transfer until it has an answer that is final. Returns the transfers that were made.
fn send_all(
    seed: u64,
    client: u64,
    port: u16,
    answered: &AtomicUsize,
) -> BTreeMap<String, Transfer> {
    let mut random = fastrand::Rng::with_seed(seed * CLIENTS + client);
    let mut made = BTreeMap::new();
    for number in 0..TRANSFERS {
        let from = random.i64(1..=4);
        let transfer @ [from, to, amount] = [from, from % 4 + 1, random.i64(1..=40)];
        let key = format!("{seed}-{client}-{number}");
        let body = format!(r#"{{"from": {from}, "to": {to}, "amount": {amount}}}"#);
        loop {
            match request("POST", port, "/transfers", &key, &body) {
                Some((200, _)) => {
                    made.insert(key, transfer);
                    break;
                }
                Some((409, _)) => break,
                Some((503, _)) | None => thread::sleep(Duration::from_millis(random.u64(1..50))),
                Some(answer) => panic!("{key}: {answer:?}"),
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    made
}

/// The relay cuts connections, the database restarts, and the service is stopped and started again.
fn execute_exactly_once(kind: Kind, seed: u64) {
    let cluster = Cluster::start_as(kind).unwrap();
    let database = TestDatabase::on(&cluster);
    database.execute("INSERT INTO accounts VALUES (3, 100), (4, 100)");
    let url = cluster.url_through(&database.relay).replace(
        "/defaultdb?",
        &format!("/{}?connect_timeout=5&", database.name),
    );
    let mut service = Service::start(&url, &[("SHUTDOWN_DELAY", "1")]);
    let (port, answered) = (service.port, AtomicUsize::new(0));
    let all = (CLIENTS * TRANSFERS) as usize;
    let made: BTreeMap<String, Transfer> = thread::scope(|scope| {
        let send = |client| {
            scope.spawn({
                let answered = &answered;
                move || send_all(seed, client, port, answered)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(send).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = vec![all / 2, all / 4];
        while clients.iter().any(|client| !client.is_finished()) {
            let turn = random.u64(1..40);
            database.relay.cut(match random.bool() {
                true => Point::Turn(turn),
                false => Point::Answer(turn),
            });
            thread::sleep(Duration::from_millis(random.u64(5..60)));
            if events
                .last()
                .is_some_and(|event| answered.load(Ordering::Relaxed) >= *event)
            {
                match events.len() {
                    2 => cluster.restart(1).unwrap(),
                    _ => {
                        service.terminate();
                        assert!(service.process.wait().unwrap().success());
                        service = Service::begin(&url, port, &[("SHUTDOWN_DELAY", "1")]);
                        service.wait();
                    }
                }
                events.pop();
            }
        }
        assert_eq!(events.len(), 0, "both events came before the end");
        let made = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        made.collect()
    });

    let keys = database.execute("SELECT key FROM transfers WHERE status = 200 ORDER BY key");
    let stored: BTreeSet<&str> = keys.lines().filter(|key| key.contains('-')).collect();
    assert_eq!(stored, made.keys().map(String::as_str).collect());
    let mut expected = [100; 4];
    for [from, to, amount] in made.values() {
        expected[*from as usize - 1] -= amount;
        expected[*to as usize - 1] += amount;
    }
    assert_eq!(database.balances::<Postgres>(), expected);
    println!(
        "{kind:?}, seed {seed}: {} of {all} made, the others refused",
        made.len()
    );
}

#[test]
fn each_transfer_is_executed_exactly_once_while_connections_break() {
    for kind in Kind::available().unwrap() {
        for _ in 0..2 {
            let seed = fastrand::u64(..1_000_000);
            println!("{kind:?}: seed {seed}");
            execute_exactly_once(kind, seed);
        }
    }
}
