//! A relay between clients and a server, which delays, counts, holds back and cuts what passes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Passes bytes between clients and a server on this machine.
///
/// TLS passes unchanged, so the relay sees which side sends, and not what. It therefore counts turns:
/// a *turn* is all that a client sends on a connection until the server answers, which is one message
/// of the driver or several that it sends together. A turn and its answer are one network round trip.
/// Turns are numbered over all connections, and an answer has the number of its own turn.
///
/// The message that ends a connection is a turn as well, but not a round trip. What has been sent
/// before one side closes the connection reaches the other side; an answer after that does not.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

/// The moment at which [`Relay::cut`] cuts a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Cuts instead of passing on the N-th turn: the server does not receive it.
    BeforeTurn(u64),
    /// Cuts instead of passing back the answer to the N-th turn: the server has handled the turn,
    /// and the client does not learn the result.
    BeforeAnswer(u64),
}

/// The turn or the answer that [`Relay::hold`] holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The N-th turn: the server does not receive it until [`Relay::release`].
    Turn(u64),
    /// The answer to the N-th turn: the client does not receive it until [`Relay::release`].
    Answer(u64),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a hold on a connection begins or ends.
    changed: Condvar,
}

/// All counters and connections are behind one lock: a turn gets its number, and is compared with
/// `cut` and `hold`, in one step.
#[derive(Default)]
struct State {
    round_trips: u64,
    /// The number of the last turn.
    turns: u64,
    cut: Option<Point>,
    hold: Option<Point>,
    delay: Duration,
    recorded: Option<Vec<u8>>,
    /// The connections by their number. A connection is removed when it is cut or when one side has
    /// closed it.
    connections: HashMap<u64, Connection>,
    accepted: u64,
    is_closed: bool,
}

/// The beginning of the turn with this number, or of the answer to it.
type Point = (Direction, u64);

/// A client's connection and the relay's own connection to the server.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The number of the turn that the server has not answered yet.
    turn: Option<u64>,
    /// The direction that is held back, if one is.
    held: Option<Direction>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Relay {
    /// Listens on a free port of `127.0.0.1` and passes every connection on to `server_port`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no free port.
    pub fn start(server_port: u16) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let relay = Relay {
            port,
            shared: Arc::default(),
        };
        let shared = Arc::clone(&relay.shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.lock().is_closed {
                    break;
                }
                // If the server is down, dropping `client` closes its connection.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) {
                    let _ = serve(client, server, &shared);
                }
            }
        });
        Ok(relay)
    }

    /// Returns the port for clients to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the number of round trips so far.
    pub fn round_trips(&self) -> u64 {
        self.shared.lock().round_trips
    }

    /// Delays every byte by `each_way`, in both directions: a round trip takes twice as long.
    pub fn set_delay(&self, each_way: Duration) {
        self.shared.lock().delay = each_way;
    }

    /// Cuts one connection at a turn or an answer, once. The first turn after this call is turn 1.
    pub fn cut(&self, cut: Cut) {
        let mut state = self.shared.lock();
        state.cut = Some(match cut {
            Cut::BeforeTurn(n) => (Direction::ToServer, state.turns + n),
            Cut::BeforeAnswer(n) => (Direction::ToClient, state.turns + n),
        });
    }

    /// Returns whether the cut that was set last has not happened yet.
    pub fn cut_is_pending(&self) -> bool {
        self.shared.lock().cut.is_some()
    }

    /// Cuts all connections now.
    pub fn cut_all(&self) {
        let mut state = self.shared.lock();
        for (_, connection) in state.connections.drain() {
            connection.close();
        }
        self.shared.changed.notify_all();
    }

    /// Holds back one turn or answer, once. The first turn after this call is turn 1.
    ///
    /// The relay passes nothing in that direction of that connection, not even its end, until
    /// [`Relay::release`]. The other direction and the other connections are not affected.
    pub fn hold(&self, hold: Hold) {
        let mut state = self.shared.lock();
        state.hold = Some(match hold {
            Hold::Turn(n) => (Direction::ToServer, state.turns + n),
            Hold::Answer(n) => (Direction::ToClient, state.turns + n),
        });
    }

    /// Passes on what is held back. A hold that has not begun is cancelled.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        state.hold = None;
        for connection in state.connections.values_mut() {
            connection.held = None;
        }
        self.shared.changed.notify_all();
    }

    /// Waits until a turn or an answer is held back, for at most `timeout`. Returns whether it is.
    pub fn wait_until_holding(&self, timeout: Duration) -> bool {
        let (state, changed) = (self.shared.lock(), &self.shared.changed);
        let waited = changed
            .wait_timeout_while(state, timeout, |state| !state.is_holding())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Starts to record what clients send, and discards what was recorded before. The record is
    /// readable only if the connection does not use TLS.
    pub fn record(&self) {
        self.shared.lock().recorded = Some(Vec::new());
    }

    /// Returns what clients have sent since [`Relay::record`], with invalid UTF-8 replaced.
    pub fn recorded(&self) -> String {
        let state = self.shared.lock();
        String::from_utf8_lossy(state.recorded.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.cut_all();
        // The listener ends when it accepts this connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts these bytes, and waits while they are held back. Returns when they are due at the
    /// other side, or `None` if the connection is cut.
    fn admit(&self, id: u64, direction: Direction, bytes: &[u8]) -> Option<Instant> {
        let mut state = self.lock();
        let point = state.begin(id, direction)?;
        if point.is_some() && state.cut == point {
            state.cut = None;
            state.connections.remove(&id)?.close();
            return None;
        }
        if let (Direction::ToServer, Some(recorded)) = (direction, &mut state.recorded) {
            recorded.extend_from_slice(bytes);
        }
        if point.is_some() && state.hold == point {
            state.hold = None;
            state.connections.get_mut(&id)?.held = Some(direction);
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.holds(id, direction))
                .unwrap_or_else(PoisonError::into_inner);
        }
        // While the connection was held back, it may have been cut.
        let connection = state.connections.get_mut(&id)?;
        if direction == Direction::ToClient && connection.answers().is_some() {
            connection.turn = None;
            state.round_trips += 1;
        }
        Some(Instant::now() + state.delay)
    }
}

impl State {
    fn is_holding(&self) -> bool {
        let mut connections = self.connections.values();
        connections.any(|connection| connection.held.is_some())
    }

    fn holds(&self, id: u64, direction: Direction) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(|connection| connection.held == Some(direction))
    }

    /// Returns the turn or the answer that begins if a connection sends in this direction now.
    /// Gives a new turn its number. Returns `None` if the connection is cut.
    fn begin(&mut self, id: u64, direction: Direction) -> Option<Option<Point>> {
        let connection = self.connections.get_mut(&id)?;
        let begins = match direction {
            Direction::ToServer if connection.turn.is_none() => {
                self.turns += 1;
                connection.turn = Some(self.turns);
                connection.turn
            }
            Direction::ToServer => None,
            Direction::ToClient => connection.answers(),
        };
        Some(begins.map(|turn| (direction, turn)))
    }
}

impl Connection {
    /// Returns the number of the turn that the server answers if it sends now. A turn that is held
    /// back has not reached the server.
    fn answers(&self) -> Option<u64> {
        self.turn.filter(|_| self.held != Some(Direction::ToServer))
    }

    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn serve(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    let to_server = (Direction::ToServer, from_client, server.try_clone()?);
    let to_client = (Direction::ToClient, from_server, client.try_clone()?);
    let mut state = shared.lock();
    // The relay may have been dropped while the listener connected to the server.
    if state.is_closed {
        return Ok(());
    }
    state.accepted += 1;
    let id = state.accepted;
    let connection = Connection {
        client,
        server,
        turn: None,
        held: None,
    };
    state.connections.insert(id, connection);
    drop(state);

    for (direction, mut from, to) in [to_server, to_client] {
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let bytes = &buffer[..length];
                let Some(due) = shared.admit(id, direction, bytes) else {
                    break;
                };
                if sender.send((due, bytes.to_vec())).is_err() {
                    break;
                }
            }
            shared.lock().connections.remove(&id);
            shared.changed.notify_all();
        });
        thread::spawn(move || write(to, &receiver));
    }
    Ok(())
}

/// Writes what was read in one direction, when it is due, and then passes on the end.
fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
