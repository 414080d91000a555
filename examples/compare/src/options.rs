//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the samples of the three drivers on the server that DATABASE_URL names, and draws a report.
///
/// What is measured is the samples' own code: their connect, transfer_funds and run_transaction. It works in
/// a schema of its own, which it drops at the end, also after Ctrl-C; your tables are not touched.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", version)]
pub struct Options {
    /// Where to write the report, one HTML file that needs no network.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/compare/report.html"
    )]
    pub report: PathBuf,
    /// Where to write all figures, with their units in their names.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Finish in about 20 seconds, with rougher figures; without it takes about two minutes.
    #[arg(long)]
    pub quick: bool,
    /// The drivers to compare.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["postgres", "diesel", "sea-orm"],
          value_parser = ["postgres", "diesel", "sea-orm"])]
    pub drivers: Vec<String>,
    /// How many workers fight for the accounts.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Also build each driver's transfer sample from nothing, for build time and size. Takes minutes.
    #[arg(long)]
    pub build: bool,
}

impl Options {
    /// Rounds in which the drivers take turns.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// How long each driver's turn lasts.
    pub fn turn(&self) -> Duration {
        Duration::from_millis(if self.quick { 400 } else { 2000 })
    }

    /// How many transfers are measured at each distance.
    pub fn transfers_at_distance(&self) -> usize {
        if self.quick { 3 } else { 11 }
    }
}
