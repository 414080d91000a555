//! A throwaway secure server for demos and tests.
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
mod supervised;

pub use certificates::{Authority, Validity};
pub use cluster::{Cluster, Kind, Security};
