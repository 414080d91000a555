//! The relay between TCP clients and a TCP server: the tests themselves are both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crdb_local_cluster::{Point, Relay};

const LATE: Duration = Duration::from_secs(20);

struct Server {
    listener: TcpListener,
    relay: Relay,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(listener.local_addr().unwrap().port()).unwrap();
        Server { listener, relay }
    }

    /// Returns both ends of a connection through the relay: the client's and the server's.
    fn connect(&self) -> [TcpStream; 2] {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.relay.port())).unwrap();
        [client, self.listener.accept().unwrap().0]
    }
}

fn pass([from, to]: [&mut TcpStream; 2]) {
    from.write_all(b"?").unwrap();
    assert_eq!(receive(to), b"?");
}

fn round_trip([client, server]: &mut [TcpStream; 2]) {
    pass([client, server]);
    pass([server, client]);
}

/// Receives one byte, or nothing if the connection has ended.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(LATE)).unwrap();
    let mut byte = Vec::new();
    let _ = stream.take(1).read_to_end(&mut byte);
    byte
}

fn assert_receives_nothing_yet(stream: &mut TcpStream) {
    let soon = Duration::from_millis(100);
    stream.set_read_timeout(Some(soon)).unwrap();
    stream.read(&mut [0]).unwrap_err();
}

#[test]
fn what_is_held_back_arrives_after_the_release_and_other_connections_pass() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    server.relay.hold(Point::Turn(2));
    round_trip(&mut two);
    assert!(!server.relay.wait_until_holding(Duration::ZERO));
    one[0].write_all(b"?").unwrap();
    assert!(server.relay.wait_until_holding(LATE));
    round_trip(&mut two);
    assert_receives_nothing_yet(&mut one[1]);
    server.relay.release();
    assert_eq!(receive(&mut one[1]), b"?");

    server.relay.hold(Point::Answer(1));
    round_trip(&mut one);
    let [client, database] = &mut two;
    pass([client, database]);
    database.write_all(b"!").unwrap();
    assert!(server.relay.wait_until_holding(LATE));
    assert_receives_nothing_yet(client);
    server.relay.release();
    assert_eq!(receive(client), b"!");
    assert_eq!(server.relay.round_trips(), 4);
}

#[test]
fn the_relay_cuts_before_the_turn_or_the_answer_of_this_number() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    round_trip(&mut two);
    server.relay.cut(Point::Answer(1));
    let [client, database] = &mut one;
    pass([client, database]);
    round_trip(&mut two);
    assert!(server.relay.cut_is_pending());
    database.write_all(b"!").unwrap();
    assert_eq!(receive(client), b"");
    assert!(!server.relay.cut_is_pending());

    server.relay.cut(Point::Turn(2));
    round_trip(&mut two);
    two[0].write_all(b"?").unwrap();
    assert_eq!(two.each_mut().map(receive), [b"", b""]);
}

#[test]
fn what_a_client_sends_before_it_closes_reaches_the_server_and_is_no_round_trip() {
    let server = Server::start();
    server.relay.set_delay(Duration::from_millis(50));
    let [mut client, mut database] = server.connect();
    client.write_all(b"?").unwrap();
    drop(client);
    assert_eq!(receive(&mut database), b"?");
    assert_eq!(receive(&mut database), b"");
    assert_eq!(server.relay.round_trips(), 0);
}
