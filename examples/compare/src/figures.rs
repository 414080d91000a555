//! The figures, with their units in their names.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use crdb_conformance::DRIVERS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::server::Server;

/// The version of the JSON. It grows when a name or a meaning changes.
pub const FORMAT: u32 = 1;

/// All figures of a run.
#[derive(Default, Serialize, Deserialize)]
pub struct Figures {
    pub format: u32,
    pub server: Server,
    pub host: String,
    /// The client.
    pub machine: String,
    /// The load averages of the client before and after the run.
    pub load_before: String,
    pub load_after: String,
    pub versions: Vec<(String, String)>,
    /// The number of rounds in which each figure was measured.
    pub rounds: usize,
    /// The largest number of workers under contention.
    pub workers: u16,
    /// Whether the sum of all balances was the same at the end, and none negative. If not, the run
    /// fails.
    pub balances_conserved: bool,
    /// The parts that were left out, each with the reason.
    pub left_out: Vec<String>,
    /// The drivers in the order of their list, then the yardsticks.
    pub contestants: Vec<Measured>,
}

/// The figures of a driver or yardstick, by their names, such as `workers_8.p99_ms`.
#[derive(Default, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    pub is_driver: bool,
    pub figures: BTreeMap<String, Figure>,
}

/// A figure over the rounds of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    pub median: f64,
    pub smallest: f64,
    pub largest: f64,
    #[serde(skip)]
    rounds: Vec<f64>,
}

impl Figures {
    /// Reads the JSON of a run.
    ///
    /// # Errors
    ///
    /// Returns an error if another version of this program has written it.
    pub fn from_json(text: &str) -> Result<Figures> {
        let json: Value = serde_json::from_str(text)?;
        let format = &json["format"];
        ensure!(
            *format == FORMAT,
            "it has the format {format}, and this version of compare reads the format {FORMAT}: \
             draw it with the version that has written it"
        );
        let figures: Figures = serde_json::from_value(json)?;
        for name in figures.drivers() {
            let is_known = DRIVERS.iter().any(|driver| driver.name == name);
            ensure!(
                is_known,
                "{name:?} is not a driver of this version of compare"
            );
        }
        Ok(figures)
    }

    /// Returns the names of the drivers.
    pub fn drivers(&self) -> impl Iterator<Item = &str> {
        let drivers = self.contestants.iter().filter(|one| one.is_driver);
        drivers.map(|one| one.name.as_str())
    }

    /// Returns a warning if the rounds of half of the contestants differ so much that the figures say
    /// little.
    pub fn warning(&self) -> Option<String> {
        let uneven = self.contestants.iter().filter_map(|one| {
            let figure = one.figures.get("workers_1.transfers_per_second")?;
            let is_uneven = figure.largest > 2.0 * figure.smallest;
            is_uneven.then(|| format!("{} {figure}", one.name))
        });
        let uneven: Vec<String> = uneven.collect();
        let (before, after) = (&self.load_before, &self.load_after);
        let is_busy = !uneven.is_empty() && uneven.len() * 2 >= self.contestants.len();
        is_busy.then(|| {
            let uneven = uneven.join(", ");
            format!(
                "The machine was too busy: its load was {before} before the run and {after} after \
                 it, and the transfers per second of one worker differ by a factor of more than two \
                 between the rounds: {uneven}."
            )
        })
    }
}

impl Measured {
    /// Adds the value of one more round.
    pub fn add(&mut self, name: &str, value: f64) {
        let figure = self.figures.entry(name.to_owned()).or_default();
        figure.rounds.push(value);
        let rounds = &mut figure.rounds;
        figure.median = median(rounds);
        (figure.smallest, figure.largest) = (rounds[0], rounds[rounds.len() - 1]);
    }
}

impl Figure {
    /// Returns whether the ranges of the two figures overlap: then they do not differ.
    pub fn overlaps(&self, other: &Figure) -> bool {
        self.smallest <= other.largest && other.smallest <= self.largest
    }

    /// Returns the smallest and the largest value, if they differ from the median in what is shown.
    pub fn range(&self) -> Option<String> {
        let [smallest, largest] = [self.smallest, self.largest].map(readable);
        (smallest != largest).then(|| format!("{smallest}–{largest}"))
    }
}

/// Shows the median, and the smallest and the largest value.
impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}", readable(self.median))?;
        let range = self.range();
        range.map_or(Ok(()), |range| write!(f, " ({range})"))
    }
}

/// Sorts the values, of which there is at least one, and returns their median.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

/// Returns a number with about three significant digits.
pub fn readable(value: f64) -> String {
    let digits = match value {
        _ if value.fract() == 0.0 || value < 0.0005 => 0,
        0.0..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
