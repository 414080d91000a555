//! The relay between TCP clients and a TCP server: the tests themselves are the server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crdb_local_cluster::{Cut, Hold, Relay};

const SOON: Duration = Duration::from_millis(100);
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

    fn connect(&self) -> Session {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.relay.port())).unwrap();
        let (server, _) = self.listener.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(LATE)).unwrap();
        }
        Session { client, server }
    }

    fn hold_first(&self, hold: fn(u64) -> Hold, session: &mut Session) {
        self.relay.hold(hold(1));
        session.ask();
        if hold(1) == Hold::Answer(1) {
            session.answer();
        }
        assert!(self.relay.wait_until_holding(LATE));
    }
}

/// Both ends of a connection through the relay.
struct Session {
    client: TcpStream,
    server: TcpStream,
}

impl Session {
    fn ask(&mut self) {
        self.client.write_all(b"?").unwrap();
    }

    fn receive_question(&mut self) {
        assert_eq!(receive(&mut self.server), b"?");
    }

    fn answer(&mut self) {
        self.receive_question();
        self.server.write_all(b"!").unwrap();
    }

    fn receive_answer(&mut self) {
        assert_eq!(receive(&mut self.client), b"!");
    }

    fn round_trip(&mut self) {
        self.ask();
        self.answer();
        self.receive_answer();
    }
}

/// Receives one byte, or nothing if the connection has ended.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut byte = Vec::new();
    stream.take(1).read_to_end(&mut byte).unwrap();
    byte
}

fn assert_receives_nothing_yet(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.read(&mut [0]).unwrap_err();
    stream.set_read_timeout(Some(LATE)).unwrap();
}

fn assert_ended(stream: &mut TcpStream) {
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_held_turn_reaches_the_server_after_the_release() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    one.round_trip();
    server.relay.hold(Hold::Turn(2));
    two.round_trip();
    assert!(!server.relay.wait_until_holding(Duration::ZERO));

    one.ask();
    assert!(server.relay.wait_until_holding(LATE));
    two.round_trip();
    assert_receives_nothing_yet(&mut one.server);

    server.relay.release();
    assert!(!server.relay.wait_until_holding(Duration::ZERO));
    one.answer();
    one.receive_answer();
    one.round_trip();
    assert_eq!(server.relay.round_trips(), 5);
}

#[test]
fn a_held_answer_reaches_the_client_after_the_release() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    server.hold_first(Hold::Answer, &mut one);
    two.round_trip();
    assert_receives_nothing_yet(&mut one.client);
    assert_eq!(server.relay.round_trips(), 1);

    server.relay.release();
    one.receive_answer();
    server.relay.hold(Hold::Turn(1));
    server.relay.release();
    one.round_trip();
    assert_eq!(server.relay.round_trips(), 3);
}

#[test]
fn a_client_that_closes_while_its_turn_is_held_still_sends_it() {
    let server = Server::start();
    let mut session = server.connect();
    server.hold_first(Hold::Turn, &mut session);
    drop(session.client);
    assert_receives_nothing_yet(&mut session.server);
    server.relay.release();
    assert_eq!(receive(&mut session.server), b"?");
    assert_eq!(receive(&mut session.server), b"");
}

#[test]
fn a_client_that_closes_while_its_answer_is_held_reaches_the_server() {
    let server = Server::start();
    let mut session = server.connect();
    server.hold_first(Hold::Answer, &mut session);
    drop(session.client);
    assert_eq!(receive(&mut session.server), b"");
    server.relay.release();
    assert_eq!(server.relay.round_trips(), 0);
}

#[test]
fn a_held_turn_that_is_cut_or_loses_its_relay_never_reaches_the_server() {
    let server = Server::start();
    let mut cut = server.connect();
    server.hold_first(Hold::Turn, &mut cut);
    server.relay.cut_all();
    let mut dropped = server.connect();
    server.hold_first(Hold::Turn, &mut dropped);
    drop(server);
    for mut session in [cut, dropped] {
        assert_eq!(receive(&mut session.server), b"");
        assert_ended(&mut session.client);
    }
}

#[test]
fn the_answer_to_a_turn_is_cut_although_later_turns_have_begun() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    two.round_trip();
    server.relay.record();
    server.relay.cut(Cut::BeforeAnswer(1));
    one.ask();
    one.receive_question();
    two.round_trip();
    assert!(server.relay.cut_is_pending());
    one.server.write_all(b"!").unwrap();
    assert_ended(&mut one.client);
    assert!(!server.relay.cut_is_pending());
    assert_eq!(server.relay.recorded(), "??");
    two.round_trip();
}

#[test]
fn a_turn_before_which_the_relay_cuts_does_not_reach_the_server() {
    let server = Server::start();
    let (mut one, mut two) = (server.connect(), server.connect());
    server.relay.cut(Cut::BeforeTurn(2));
    one.round_trip();
    two.ask();
    assert_ended(&mut two.client);
    assert_eq!(receive(&mut two.server), b"");
    one.round_trip();
}

#[test]
fn round_trips_of_clients_at_the_same_time_are_all_counted() {
    let server = Server::start();
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut session = server.connect();
            scope.spawn(move || (0..250).for_each(|_| session.round_trip()));
        }
    });
    assert_eq!(server.relay.round_trips(), 2_000);
}

#[test]
fn what_one_side_sends_before_it_closes_reaches_the_other_but_is_no_round_trip() {
    let server = Server::start();
    server.relay.set_delay(SOON);
    let mut session = server.connect();
    session.ask();
    drop(session.client);
    assert_eq!(receive(&mut session.server), b"?");
    assert_ended(&mut session.server);
    let mut session = server.connect();
    session.server.write_all(b"!").unwrap();
    drop(session.server);
    assert_eq!(receive(&mut session.client), b"!");
    assert_ended(&mut session.client);
    assert_eq!(server.relay.round_trips(), 0);
}
