//! The command line.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crdb_conformance::DRIVERS;

use crate::schema::FIRST_ACCOUNT;

/// Measures the drivers' samples on the server that DATABASE_URL names, and writes a report.
///
/// The samples' own code is measured: their connect, transfer_funds and run_transaction. It runs in
/// a schema of its own, which is dropped at the end, also after Ctrl-C; your tables are not
/// touched.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", version)]
pub struct Options {
    /// The report: one HTML file that needs no network.
    #[arg(long, value_name = "FILE", default_value_os_t = report())]
    pub report: PathBuf,
    /// Also write all figures to this file, with their units in their names.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure nothing: draw the report from a file that --json has written, here or elsewhere.
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["json", "quick", "drivers", "workers", "build"])]
    pub from: Option<PathBuf>,
    /// Also build the transfer sample of each driver from nothing, in a temporary directory: minutes.
    #[arg(long)]
    pub build: bool,
    /// Finish in less than a minute, with rougher figures. Without it a run takes some four minutes.
    #[arg(long)]
    pub quick: bool,
    /// The drivers to compare.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = names(),
          value_parser = PossibleValuesParser::new(names()))]
    pub drivers: Vec<String>,
    /// The largest number of workers under contention: 2, 4, 8, 16 or 32. Without --quick,
    /// the smaller numbers are measured too.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = workers)]
    pub workers: u16,
    /// For the processes that this program starts.
    #[arg(long, hide = true)]
    pub job: Option<String>,
}

/// Returns where the report is by default: in Cargo's target directory.
fn report() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    Path::new(&target).join("compare/report.html")
}

fn names() -> impl Iterator<Item = &'static str> {
    DRIVERS.iter().map(|driver| driver.name)
}

fn workers(text: &str) -> Result<u16, &'static str> {
    let number = text.parse().ok();
    let number = number.filter(|number| [2, 4, 8, 16, 32].contains(number));
    number.ok_or("write 2, 4, 8, 16 or 32")
}

impl Options {
    /// Returns the number of rounds. Each contestant has a slot in each round.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// Returns the length of a slot.
    pub fn slot(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 500 })
    }

    /// Returns 1, 2, 4, … and the largest number of workers, quickly only the first and the last.
    pub fn workers(&self) -> Vec<u16> {
        if self.quick {
            return vec![1, self.workers];
        }
        let powers = (0..6).map(|power| 1 << power);
        powers.filter(|workers| *workers <= self.workers).collect()
    }

    /// Returns the last of the accounts: four for each number of workers in each job.
    pub fn last_account(&self) -> i64 {
        let jobs = self.rounds() * 2 * (self.drivers.len() + 1);
        FIRST_ACCOUNT + (jobs * self.workers().len() * 4) as i64
    }

    /// Returns the number of transfers in a round that are measured at each distance.
    pub fn transfers_at_distance(&self) -> u64 {
        if self.quick { 1 } else { 3 }
    }
}
