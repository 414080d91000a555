//! The relay between TCP clients and a TCP server: the tests themselves are both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crdb_local_cluster::{Point, Relay};

const LATE: Duration = Duration::from_secs(20);

fn start() -> (Relay, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = Relay::start(listener.local_addr().unwrap().port()).unwrap();
    (relay, listener)
}

/// Returns both ends of a connection through the relay: the client's and the server's.
fn connect((relay, listener): &(Relay, TcpListener)) -> [TcpStream; 2] {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
    [client, listener.accept().unwrap().0]
}

fn send(stream: &mut TcpStream) {
    stream.write_all(b"x").unwrap();
}

/// Returns whether a byte arrives before the time is over or the connection ends.
fn receives(stream: &mut TcpStream, timeout: Duration) -> bool {
    stream.set_read_timeout(Some(timeout)).unwrap();
    matches!(stream.read(&mut [0]), Ok(1))
}

fn round_trip([client, server]: &mut [TcpStream; 2]) {
    send(client);
    assert!(receives(server, LATE));
    send(server);
    assert!(receives(client, LATE));
}

#[test]
fn what_is_held_back_arrives_after_the_release_and_other_connections_pass() {
    for point in [Point::Turn(2), Point::Answer(2)] {
        let server = start();
        let (mut one, mut two) = (connect(&server), connect(&server));
        let relay = server.0;
        relay.hold(point);
        round_trip(&mut two);
        assert!(!relay.wait_until_holding(Duration::ZERO));
        let [client, database] = &mut one;
        send(client);
        if point == Point::Answer(2) {
            assert!(receives(database, LATE));
            send(database);
        }
        assert!(relay.wait_until_holding(LATE));
        round_trip(&mut two);
        let receiver = if point == Point::Turn(2) {
            database
        } else {
            client
        };
        assert!(!receives(receiver, Duration::from_millis(100)));
        relay.release();
        assert!(receives(receiver, LATE));
    }
}

#[test]
fn the_relay_cuts_before_the_turn_or_the_answer_of_this_number() {
    let server = start();
    let (mut one, mut two) = (connect(&server), connect(&server));
    let relay = server.0;
    round_trip(&mut two);
    relay.cut(Point::Answer(1));
    let [client, database] = &mut one;
    send(client);
    assert!(receives(database, LATE));
    round_trip(&mut two);
    assert!(relay.cut_is_pending());
    send(database);
    assert!(!receives(client, LATE));
    assert!(!relay.cut_is_pending());

    relay.cut(Point::Turn(2));
    round_trip(&mut two);
    send(&mut two[0]);
    assert!(!receives(&mut two[1], LATE));
    assert_eq!(relay.round_trips(), 3);
}

#[test]
fn what_a_client_sends_before_it_closes_reaches_the_server() {
    let server = start();
    server.0.set_delay(Duration::from_millis(50));
    let [mut client, mut database] = connect(&server);
    send(&mut client);
    drop(client);
    assert!(receives(&mut database, LATE));
    assert!(!receives(&mut database, LATE));
}
