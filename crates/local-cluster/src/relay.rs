//! A relay in front of a server: it delays, counts and cuts what passes through it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Passes bytes between clients and a server on this machine. TLS goes through it untouched, so what it
/// knows of the conversation is who speaks: a client's turn lasts from its first byte until the server
/// answers, and a turn with its answer is one network round trip.
pub struct Relay {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

/// When to cut a connection, counted in client turns from the moment that this is set, over all
/// connections. The relay cuts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Instead of passing on the client's N-th turn: the server never sees it.
    BeforeTurn(u64),
    /// Instead of passing back the answer to the client's N-th turn: the server has seen and answered it.
    BeforeAnswer(u64),
}

#[derive(Default)]
struct Shared {
    round_trips: u64,
    turns: u64,
    cut: Option<Cut>,
    delay: Duration,
    recorded: Option<Vec<u8>>,
    open: Vec<Arc<Connection>>,
    closed: bool,
}

/// A client, and the connection to the server made for it.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Whether the client has spoken, and waits for an answer that the server has not yet given.
    asked: Mutex<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Relay {
    /// Listens on a free port of `127.0.0.1` and passes everything on to this one.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub fn start(server_port: u16) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if lock(&state).closed {
                    break;
                }
                // Where the server is down, the client finds the connection closed.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) {
                    let _ = serve(client, server, &state);
                }
            }
        });
        Ok(Relay { port, shared })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Round trips so far.
    pub fn round_trips(&self) -> u64 {
        lock(&self.shared).round_trips
    }

    /// Holds every byte back for this long, each way. Half a round trip's time.
    pub fn set_delay(&self, each_way: Duration) {
        lock(&self.shared).delay = each_way;
    }

    /// Cuts a connection at this moment.
    pub fn cut(&self, when: Cut) {
        let mut shared = lock(&self.shared);
        shared.turns = 0;
        shared.cut = Some(when);
    }

    /// Whether the cut that was set last is still to come.
    pub fn cut_is_pending(&self) -> bool {
        lock(&self.shared).cut.is_some()
    }

    /// Cuts all connections now.
    pub fn cut_all(&self) {
        lock(&self.shared)
            .open
            .drain(..)
            .for_each(|connection| connection.close());
    }

    /// From now on keeps what clients send. Readable without TLS only.
    pub fn record(&self) {
        lock(&self.shared).recorded = Some(Vec::new());
    }

    /// What clients have sent since [`Relay::record`], with bytes that are not text replaced.
    pub fn recorded(&self) -> String {
        let shared = lock(&self.shared);
        String::from_utf8_lossy(shared.recorded.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.shared).closed = true;
        self.cut_all();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Connection {
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Keeps count. Returns whether the bytes are to be passed on; else the connection is to be cut.
    fn passes(&self, direction: Direction, bytes: &[u8], shared: &Mutex<Shared>) -> bool {
        let mut shared = lock(shared);
        let mut asked = lock(&self.asked);
        match direction {
            Direction::ToServer => {
                shared.turns += u64::from(!*asked);
                *asked = true;
                if shared.cut == Some(Cut::BeforeTurn(shared.turns)) {
                    shared.cut = None;
                    return false;
                }
                if let Some(recorded) = &mut shared.recorded {
                    recorded.extend_from_slice(bytes);
                }
            }
            Direction::ToClient => {
                if *asked && shared.cut == Some(Cut::BeforeAnswer(shared.turns)) {
                    shared.cut = None;
                    return false;
                }
                shared.round_trips += u64::from(*asked);
                *asked = false;
            }
        }
        true
    }
}

fn serve(client: TcpStream, server: TcpStream, shared: &Arc<Mutex<Shared>>) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let connection = Arc::new(Connection {
        client: client.try_clone()?,
        server: server.try_clone()?,
        asked: Mutex::new(false),
    });
    lock(shared).open.push(Arc::clone(&connection));
    let pairs = [
        (
            Direction::ToServer,
            client.try_clone()?,
            server.try_clone()?,
        ),
        (Direction::ToClient, server, client),
    ];
    for (direction, from, to) in pairs {
        let (sender, receiver) = mpsc::channel();
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        thread::spawn(move || {
            read(direction, from, &connection, &shared, &sender);
            drop(sender);
        });
        thread::spawn(move || write(to, &receiver));
    }
    Ok(())
}

fn read(
    direction: Direction,
    mut from: TcpStream,
    connection: &Arc<Connection>,
    shared: &Mutex<Shared>,
    sender: &Sender<(Instant, Vec<u8>)>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        if !connection.passes(direction, bytes, shared) {
            connection.close();
            break;
        }
        let due = Instant::now() + lock(shared).delay;
        if sender.send((due, bytes.to_vec())).is_err() {
            break;
        }
    }
    if direction == Direction::ToServer {
        // What the server still says, nobody waits for.
        *lock(&connection.asked) = false;
    }
    lock(shared)
        .open
        .retain(|open| !Arc::ptr_eq(open, connection));
}

/// Ends when the reader has: then nothing more is sent this way.
fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
