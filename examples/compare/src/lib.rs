//! The three drivers side by side: one way to call the samples' own code, whichever driver it is for, and
//! what `cargo run --release --example compare` measures with it.

#![warn(missing_docs)]

pub mod chart;
pub mod contestant;
pub mod cost;
pub mod figures;
pub mod measure;
pub mod options;
pub mod pgbench;
pub mod progress;
pub mod report;
pub mod round_trips;
pub mod schema;
pub mod stop;
pub mod tables;
