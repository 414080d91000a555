#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod binaries;
mod certificates;
mod cluster;
mod cockroach;
mod directory;
mod kind;
mod postgres;
mod process;
mod relay;
mod run;
mod server;

pub use certificates::Authority;
pub use cluster::Cluster;
pub use kind::{Fault, Kind};
pub use relay::{Point, Relay};
