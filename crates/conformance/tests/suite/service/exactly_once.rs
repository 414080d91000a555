//! Each transfer is executed exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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

const CLIENTS: usize = 16;
const TRANSFERS: usize = 50;

/// Sends each transfer until it has an answer that is final. Returns the accounts and the amount of
/// those that were made, by their keys.
fn send_all(client: usize, port: u16, answered: &AtomicUsize) -> BTreeMap<String, [i64; 3]> {
    let mut made = BTreeMap::new();
    for number in 0..TRANSFERS {
        let from = fastrand::i64(1..=4);
        let (to, amount) = (from % 4 + 1, fastrand::i64(1..=40));
        let key = format!("{client:02}-{number:02}");
        let body = format!(r#"{{"from": {from}, "to": {to}, "amount": {amount}}}"#);
        loop {
            match request("POST", port, "/transfers", &key, &body) {
                Some((200, _)) => {
                    made.insert(key, [from, to, amount]);
                    break;
                }
                Some((409, _)) => break,
                Some((503, _)) | None => thread::sleep(Duration::from_millis(20)),
                Some(answer) => panic!("{key}: {answer:?}"),
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    made
}

/// The relay cuts connections, the database restarts, and the service is stopped and started again.
#[test]
fn each_transfer_is_executed_exactly_once_while_connections_break() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let database = TestDatabase::on(&cluster);
        database.execute("INSERT INTO accounts VALUES (3, 100), (4, 100)");
        let url = format!("{}&connect_timeout=5", database.relayed_text);
        let variables = [("SHUTDOWN_DELAY", "1")];
        let mut service = Service::start(&url, &variables);
        let (port, answered) = (service.port, AtomicUsize::new(0));
        let cut_until = |number: usize| {
            let deadline = Instant::now() + Duration::from_secs(120);
            while answered.load(Ordering::Relaxed) < number {
                let turn = fastrand::u64(1..40);
                database.relay.cut(match fastrand::bool() {
                    true => Point::Turn(turn),
                    false => Point::Answer(turn),
                });
                thread::sleep(Duration::from_millis(fastrand::u64(5..60)));
                assert!(Instant::now() < deadline, "the clients do not go on");
            }
        };
        let all = CLIENTS * TRANSFERS;
        let made: BTreeMap<_, _> = thread::scope(|scope| {
            let answered = &answered;
            let send = |client| scope.spawn(move || send_all(client, port, answered));
            let clients: Vec<_> = (0..CLIENTS).map(send).collect();
            cut_until(all / 4);
            cluster.restart(1).unwrap();
            cut_until(all / 2);
            service.terminate();
            assert!(service.process.wait().unwrap().success());
            service = Service::begin(&url, port, &variables);
            cut_until(all);
            let made = clients.into_iter();
            made.flat_map(|client| client.join().unwrap()).collect()
        });
        println!("{kind:?}: {} of {all} made, the others refused", made.len());

        let keys = database.execute("SELECT key FROM transfers WHERE status = 200 ORDER BY key");
        let stored = keys.lines().filter(|key| key.contains('-'));
        assert!(stored.eq(made.keys()), "{keys} are not {made:?}");
        let mut expected = [100; 4];
        for [from, to, amount] in made.values() {
            expected[*from as usize - 1] -= amount;
            expected[*to as usize - 1] += amount;
        }
        assert_eq!(database.balances::<Postgres>(), expected);
    }
}
