//! Measures the drivers' samples side by side and writes a report. The program is `compare.rs`.
//!
//! # Layout
//!
//! - What is compared, drivers and yardsticks: [`contestant`], [`transfer`], [`pgbench`].
//! - Where it runs, in a schema and behind a relay: [`schema`], [`server`], [`relayed`].
//! - What is measured: [`round_trips`], [`measure`] with [`turn`], [`cost`].
//! - The results: [`figures`].
//! - Their presentation: [`verdict`], [`chart`], [`tables`], and [`report`] with its template.
//! - The command line, the progress bar and Ctrl-C: [`options`], [`progress`], [`stop`].

#![warn(missing_docs)]

pub mod chart;
pub mod contestant;
pub mod cost;
pub mod figures;
pub mod measure;
pub mod options;
pub mod pgbench;
pub mod progress;
pub mod relayed;
pub mod report;
pub mod round_trips;
pub mod schema;
pub mod server;
pub mod stop;
pub mod tables;
pub mod transfer;
pub mod turn;
pub mod verdict;
