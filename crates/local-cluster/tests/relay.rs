//! The relay between TCP clients and a TCP server: the tests themselves are both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crdb_local_cluster::{Point, Relay};

const LATE: Duration = Duration::from_secs(20);

/// Starts a relay, and returns both ends of two connections through it: the client's and the server's.
fn start() -> (Relay, [[TcpStream; 2]; 2]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = Relay::start(listener.local_addr().unwrap().port()).unwrap();
    let connections = [1, 2].map(|_| {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        [client, listener.accept().unwrap().0]
    });
    (relay, connections)
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
        let (relay, [[mut client, mut server], mut other]) = start();
        relay.hold(point);
        round_trip(&mut other);
        send(&mut client);
        let receiver = if point == Point::Turn(2) {
            &mut server
        } else {
            assert!(receives(&mut server, LATE));
            send(&mut server);
            &mut client
        };
        assert!(relay.wait_until_holding(LATE));
        round_trip(&mut other);
        assert!(!receives(receiver, Duration::from_millis(100)));
        relay.release();
        assert!(receives(receiver, LATE));
    }
}

#[test]
fn the_relay_cuts_before_the_turn_or_the_answer_of_this_number() {
    let (relay, [[mut client, mut server], mut other]) = start();
    round_trip(&mut other);
    relay.cut(Point::Answer(1));
    send(&mut client);
    assert!(receives(&mut server, LATE));
    round_trip(&mut other);
    assert!(relay.cut_is_pending());
    send(&mut server);
    assert!(!receives(&mut client, LATE));
    assert!(!relay.cut_is_pending());

    relay.cut(Point::Turn(2));
    round_trip(&mut other);
    send(&mut other[0]);
    assert!(!receives(&mut other[1], LATE));
    assert_eq!(relay.round_trips(), 3);
}
