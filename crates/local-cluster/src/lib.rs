//! A throwaway secure server for demos and tests, and a relay in front of it.
//!
//! ```no_run
//! let cluster = crdb_local_cluster::Cluster::start()?;
//! println!("{}", cluster.url());
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(missing_docs)]

mod binaries;
mod certificates;
mod cluster;
mod cockroach;
mod postgres;
mod relay;
mod supervised;

pub use certificates::{Authority, Validity};
pub use cluster::{Cluster, Kind, Security};
pub use relay::{Cut, Relay};
