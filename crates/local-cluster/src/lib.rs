#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! The library:
//!
//! - `cluster.rs`: [`Cluster`], a running server or three nodes, with ports, directory, certificates
//!   and user.
//! - `kind.rs`: [`Kind`], CockroachDB or PostgreSQL.
//! - `fault.rs`: [`Fault`], such as an expired certificate.
//! - `cockroach.rs`, `postgres.rs`: how to configure and start each kind, and how to run SQL on it.
//! - `binaries.rs`: where the programs of each kind are installed.
//! - `directory.rs`, `watchdog.sh`: a private directory, which is removed, and its servers stopped,
//!   when the program ends.
//! - `process.rs`: a server process.
//! - `run.rs`: running another program until it ends, if necessary as another user.
//! - `certificates.rs`: [`Authority`], which issues the certificates.
//! - `relay.rs`: [`Relay`], which passes bytes between clients and a server.
//!
//! The program `local-cluster`, which `scripts/local-cluster` runs:
//!
//! - `main.rs`: the commands.
//! - `daemon.rs`: the background process that `start` leaves running.
//! - `state.rs`: the files that `start` writes: its state, and `.env`.

#![warn(missing_docs)]

mod binaries;
mod certificates;
mod cluster;
mod cockroach;
mod directory;
mod fault;
mod kind;
mod postgres;
mod process;
mod relay;
mod run;

pub use certificates::Authority;
pub use cluster::Cluster;
pub use fault::Fault;
pub use kind::Kind;
pub use relay::{Point, Relay};
