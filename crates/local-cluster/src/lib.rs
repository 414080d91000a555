//! Starts a throwaway secure server for tests and demos, and relays connections to it.
//!
//! Add this crate to the `[dev-dependencies]` of your project, by its path or git URL, and start a
//! [`Cluster`] in a test:
//!
//! ```no_run
//! use crdb_local_cluster::{Cluster, Kind};
//!
//! # fn create_accounts(_url: &str) -> anyhow::Result<()> { Ok(()) }
//! fn accounts_are_created() -> anyhow::Result<()> {
//!     for kind in Kind::available()? {
//!         let cluster = Cluster::start_as(kind)?;
//!         // The code under test connects to `cluster.url()`.
//!         create_accounts(&cluster.url())?;
//!         cluster.execute("SELECT balance FROM accounts WHERE id = 1")?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The server needs no configuration. It stops when the [`Cluster`] is dropped, even if the test
//! panics or is killed. With a [`Relay`] between the code under test and the server, a test can
//! delay, hold back and cut the connection, and count its network round trips.
//!
//! # Layout
//!
//! The library:
//!
//! - `cluster.rs`: [`Cluster`], a running server with its port, directory, certificates and user.
//! - `kind.rs`: [`Kind`], CockroachDB or PostgreSQL.
//! - `fault.rs`: [`Fault`], such as an expired certificate.
//! - `cockroach.rs`, `postgres.rs`: how to configure and start each kind, and how to run SQL on it.
//! - `binaries.rs`: where the programs of each kind are installed.
//! - `process.rs`: a server process that ends with the program that started it.
//! - `run.rs`: running another program until it ends, if necessary as another user.
//! - `certificates.rs`: [`Authority`], which issues the certificates.
//! - `relay.rs`: [`Relay`], which passes bytes between clients and a server.
//!
//! The program `local-cluster`, which `scripts/local-cluster` runs:
//!
//! - `main.rs`: the commands `start`, `stop` and `url`.
//! - `daemon.rs`: the background process that `start` leaves running.
//! - `state.rs`: the files that `start` writes: its state, and `.env`.

#![warn(missing_docs)]

mod binaries;
mod certificates;
mod cluster;
mod cockroach;
mod fault;
mod kind;
mod postgres;
mod process;
mod relay;
mod run;

pub use certificates::{Authority, Validity};
pub use cluster::Cluster;
pub use fault::Fault;
pub use kind::Kind;
pub use relay::{Cut, Hold, Relay};
