//! Measures the drivers' samples side by side and writes a report. The program is `compare.rs`.
//!
//! # Layout
//!
//! | what | where |
//! |---|---|
//! | what is compared: the list of drivers, the yardsticks | [`contestant`], [`transfer`], [`pgbench`] |
//! | where it runs: a schema of its own, the server, a relay in front of it | [`schema`], [`server`], [`relayed`] |
//! | what is measured | [`round_trips`], [`measure`] with [`turn`], [`cost`] |
//! | the results | [`figures`] |
//! | their presentation | [`tables`], [`chart`], [`verdict`], [`report`] with `templates/report.html` |
//! | the command line, the progress bar, Ctrl-C | [`options`], [`progress`], [`stop`] |

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
