//! A relay between clients and a server, which delays, counts, holds back and cuts what passes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
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

/// The point at which [`Relay::cut`] cuts a connection, or from which [`Relay::hold`] holds it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the N-th turn: the server has not received it.
    Turn(u64),
    /// Before the answer to the N-th turn: the server has handled the turn, and the client has not
    /// learned the result.
    Answer(u64),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when `held` or `connections` changes.
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
    /// What is held back now.
    held: Option<Point>,
    delay: Duration,
    recorded: Vec<u8>,
    /// A connection is removed when it is cut or when one side has closed it.
    connections: HashMap<usize, Connection>,
    is_closed: bool,
}

/// A client's connection and the relay's own connection to the server.
struct Connection {
    streams: [Arc<TcpStream>; 2],
    /// The number of the turn that the server has not answered yet.
    turn: Option<u64>,
}

impl Relay {
    /// Listens on a free port of `127.0.0.1` and passes every connection on to `server_port`.
    pub fn start(server_port: u16) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let relay = Relay {
            port: listener.local_addr()?.port(),
            shared: Arc::default(),
        };
        let shared = Arc::clone(&relay.shared);
        thread::spawn(move || {
            for (id, client) in listener.incoming().flatten().enumerate() {
                if shared.lock().is_closed {
                    break;
                }
                // If the server is down, the client's connection is closed.
                let _ = serve(id, client, server_port, &shared);
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

    /// Cuts the connection that gets to this point, once. The first turn after this call is turn 1.
    pub fn cut(&self, point: Point) {
        let mut state = self.shared.lock();
        state.cut = Some(point.after(state.turns));
    }

    /// Returns whether the cut that was set last has not happened yet.
    pub fn cut_is_pending(&self) -> bool {
        self.shared.lock().cut.is_some()
    }

    /// Cuts all connections now.
    pub fn cut_all(&self) {
        let mut state = self.shared.lock();
        state.connections.values().for_each(Connection::close);
        state.connections.clear();
        self.shared.changed.notify_all();
    }

    /// Holds back the turn or the answer at this point, once. The first turn after this call is turn 1.
    ///
    /// The relay passes nothing in that direction of that connection, not even its end, until
    /// [`Relay::release`]. The other direction and the other connections are not affected.
    pub fn hold(&self, point: Point) {
        let mut state = self.shared.lock();
        state.hold = Some(point.after(state.turns));
    }

    /// Passes on what is held back. A hold that has not begun is cancelled.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        (state.hold, state.held) = (None, None);
        self.shared.changed.notify_all();
    }

    /// Waits until a turn or an answer is held back, for at most `timeout`. Returns whether it is.
    pub fn wait_until_holding(&self, timeout: Duration) -> bool {
        let (state, changed) = (self.shared.lock(), &self.shared.changed);
        let waited = changed.wait_timeout_while(state, timeout, |state| state.held.is_none());
        waited.unwrap().0.held.is_some()
    }

    /// Returns what clients have sent since the last call, with invalid UTF-8 replaced. It is readable
    /// only if the connection does not use TLS.
    pub fn take_recorded(&self) -> String {
        let recorded = mem::take(&mut self.shared.lock().recorded);
        String::from_utf8_lossy(&recorded).into_owned()
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
        self.state.lock().unwrap()
    }

    /// Counts these bytes, and waits while they are held back. Returns when they are due at the
    /// other side, or `None` if the connection is cut.
    fn admit(&self, id: usize, is_client: bool, bytes: &[u8]) -> Option<Instant> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let connection = state.connections.get_mut(&id)?;
        // The turn or the answer that begins now.
        let point = match (is_client, connection.turn) {
            (true, None) => {
                state.turns += 1;
                connection.turn = Some(state.turns);
                Some(Point::Turn(state.turns))
            }
            // A turn that is held back has not reached the server: this does not answer it.
            (false, Some(turn)) if state.held != Some(Point::Turn(turn)) => {
                Some(Point::Answer(turn))
            }
            _ => None,
        };
        if point.is_some() && state.cut == point {
            state.cut = None;
            state.connections.remove(&id)?.close();
            return None;
        }
        if is_client {
            state.recorded.extend_from_slice(bytes);
        }
        if point.is_some() && state.hold == point {
            (state.hold, state.held) = (None, point);
            self.changed.notify_all();
            let is_held =
                |state: &mut State| state.held == point && state.connections.contains_key(&id);
            guard = self.changed.wait_while(guard, is_held).unwrap();
            guard.held = guard.held.filter(|held| Some(*held) != point);
        }
        // While the connection was held back, it may have been cut.
        let connection = guard.connections.get_mut(&id)?;
        if let Some(Point::Answer(_)) = point {
            connection.turn = None;
            guard.round_trips += 1;
        }
        Some(Instant::now() + guard.delay)
    }
}

impl Point {
    /// Counts from the turn after the last one instead of from the first.
    fn after(self, turns: u64) -> Point {
        match self {
            Point::Turn(n) => Point::Turn(turns + n),
            Point::Answer(n) => Point::Answer(turns + n),
        }
    }
}

impl Connection {
    fn close(&self) {
        for stream in &self.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(id: usize, client: TcpStream, server_port: u16, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Arc::new(client), Arc::new(server));
    let connection = Connection {
        streams: [Arc::clone(&client), Arc::clone(&server)],
        turn: None,
    };
    let mut state = shared.lock();
    // The relay may have been dropped while the listener connected to the server.
    if state.is_closed {
        return Ok(());
    }
    state.connections.insert(id, connection);
    drop(state);

    let to_server = (true, Arc::clone(&client), Arc::clone(&server));
    for (is_client, from, to) in [to_server, (false, server, client)] {
        let (queue, queued) = mpsc::channel::<(Instant, Vec<u8>)>();
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = (&*from).read(&mut buffer) {
                let bytes = &buffer[..length];
                let due = shared.admit(id, is_client, bytes);
                if due.is_none_or(|due| queue.send((due, bytes.to_vec())).is_err()) {
                    break;
                }
            }
            shared.lock().connections.remove(&id);
            shared.changed.notify_all();
        });
        thread::spawn(move || {
            for (due, bytes) in queued {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if (&*to).write_all(&bytes).is_err() {
                    break;
                }
            }
            // Passes on the end.
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
