//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crdb_conformance::DRIVERS;

/// Measures the drivers' samples on the server that DATABASE_URL names, and writes a report.
///
/// The samples' own code is measured: their connect, transfer_funds and run_transaction. It runs in
/// a schema of its own, which is dropped at the end, also after Ctrl-C; your tables are not
/// touched.
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
    /// Finish in about half a minute, with rougher figures. Without it a run takes some two
    /// minutes.
    #[arg(long)]
    pub quick: bool,
    /// The drivers to compare.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = names(),
          value_parser = PossibleValuesParser::new(names()))]
    pub drivers: Vec<String>,
    /// The largest number of workers under contention; 1, 2, 4, … workers are measured too.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Put each account into a range of its own, as in a large table. Needs CockroachDB.
    #[arg(long)]
    pub spread: bool,
}

fn names() -> impl Iterator<Item = &'static str> {
    DRIVERS.iter().map(|driver| driver.name)
}

impl Options {
    /// Returns the number of rounds. Each contestant has a slot in each round.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// Returns the length of a slot.
    pub fn slot(&self) -> Duration {
        Duration::from_millis(if self.quick { 400 } else { 1200 })
    }

    /// Returns 1, 2, 4, … and the largest number of workers, each with the length of its slots. The
    /// smaller numbers share the length of one slot.
    pub fn contention(&self) -> Vec<(u16, Duration)> {
        let powers = (0..16).map(|power| 1 << power);
        let smaller: Vec<u16> = powers.take_while(|n| *n < self.workers).collect();
        let share = self.slot() / smaller.len().max(1) as u32;
        let smaller = smaller.into_iter().map(|workers| (workers, share));
        smaller.chain([(self.workers, self.slot())]).collect()
    }

    /// Returns about how long a run takes with this number of contestants.
    pub fn about(&self, contestants: usize) -> Duration {
        // Each has a slot with one worker and one or two under contention; pgbench has one.
        let slots = (3 * contestants + 1) * self.rounds();
        let at_distance = Duration::from_millis(300) * self.transfers_at_distance() as u32;
        self.slot() * slots as u32 + at_distance * contestants as u32
    }

    /// Returns the number of transfers that are measured at each distance.
    pub fn transfers_at_distance(&self) -> usize {
        if self.quick { 3 } else { 11 }
    }
}
