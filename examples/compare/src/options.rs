//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::contestant::DRIVERS;

/// Measures the drivers' samples on the server that DATABASE_URL names, and writes a report.
///
/// The samples' own code is measured: their connect, transfer_funds and run_transaction. It runs in a schema
/// of its own, which is dropped at the end, also after Ctrl-C; your tables are not touched.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", version)]
pub struct Options {
    /// The report: one HTML file that needs no network.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/compare/report.html"
    )]
    pub report: PathBuf,
    /// Also write all figures to this file, with their units in their names.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Finish in about half a minute, with rougher figures. Without it a run takes some two minutes.
    #[arg(long)]
    pub quick: bool,
    /// The drivers to compare.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = names(),
          value_parser = PossibleValuesParser::new(names()))]
    pub drivers: Vec<String>,
    /// The number of workers under contention.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Also build each driver's transfer sample from scratch, for build time and size. Takes minutes.
    #[arg(long)]
    pub build: bool,
}

fn names() -> impl Iterator<Item = &'static str> {
    DRIVERS.iter().map(|driver| driver.name)
}

impl Options {
    /// Returns the number of rounds in which the contestants take turns.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// Returns the length of a turn.
    pub fn turn(&self) -> Duration {
        Duration::from_millis(if self.quick { 400 } else { 2000 })
    }

    /// Returns the number of transfers that are measured at each distance.
    pub fn transfers_at_distance(&self) -> usize {
        if self.quick { 3 } else { 11 }
    }
}
