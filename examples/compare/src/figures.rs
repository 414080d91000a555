//! The figures, with their units in their names.

use serde::Serialize;

use crate::server::Server;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The server.
    pub server: Server,
    /// The host and port of the server.
    pub host: String,
    /// The client machine.
    pub machine: String,
    /// The versions of the drivers.
    pub versions: Vec<(String, String)>,
    /// The number of rounds in which the contestants took turns.
    pub rounds: usize,
    /// The number of workers under contention.
    pub workers: u16,
    /// The parts that were left out, each with the reason.
    pub left_out: Vec<String>,
    /// The drivers in the order of their list, then the yardsticks.
    pub contestants: Vec<Measured>,
}

/// The figures of a driver or yardstick. A figure that was not measured is null.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// The contestant's name.
    pub name: String,
    /// Network round trips.
    pub round_trips: Option<RoundTrips>,
    /// One worker.
    pub one_worker: Option<OneWorker>,
    /// Several workers on four accounts.
    pub contention: Option<Contention>,
    /// One worker behind simulated distances.
    pub distance: Vec<Distance>,
    /// The cost of the dependency. Drivers have it, yardsticks do not.
    pub cost: Option<Cost>,
}

impl Measured {
    /// Returns figures that hold nothing but a name.
    pub fn named(name: &str) -> Measured {
        Measured {
            name: name.to_owned(),
            ..Measured::default()
        }
    }

    /// Returns whether this is a driver, not a yardstick.
    pub fn is_driver(&self) -> bool {
        self.cost.is_some()
    }
}

/// Network round trips.
#[derive(Clone, Debug, Serialize)]
pub struct RoundTrips {
    /// To connect.
    pub connect: Option<u64>,
    /// For the first transfer.
    pub transfer_first: Option<u64>,
    /// For each further transfer.
    pub transfer_steady: u64,
    /// For a transfer that is retried once.
    pub transfer_retried_once: Option<u64>,
}

/// One worker; medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct OneWorker {
    /// The time to connect.
    pub connect_ms: f64,
    /// Transfers per second.
    pub transfers_per_second: f64,
    /// The latency of the median transfer.
    pub p50_ms: f64,
    /// The latency that 95 of 100 transfers do not exceed.
    pub p95_ms: f64,
    /// The latency that 99 of 100 transfers do not exceed.
    pub p99_ms: f64,
    /// The latency of the slowest transfer of all rounds.
    pub max_ms: f64,
}

/// Several workers on four accounts; medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Contention {
    /// Transfers per second, all workers together.
    pub transfers_per_second: f64,
    /// Retries per transfer.
    pub retries_per_transfer: f64,
    /// The latency of the median transfer, retries included.
    pub p50_ms: f64,
    /// The latency that 99 of 100 transfers do not exceed, retries included.
    pub p99_ms: f64,
    /// Whether the sum of all balances was the same after the run as before.
    pub balances_conserved: bool,
}

/// One worker at one simulated distance.
#[derive(Clone, Debug, Serialize)]
pub struct Distance {
    /// The distance: the time of a network round trip.
    pub round_trip_ms: u64,
    /// The latency of the median transfer.
    pub transfer_p50_ms: f64,
}

/// The cost of a driver as a dependency.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Crates in the dependency tree.
    pub crates: Option<usize>,
    /// Lines of code in connect, both samples and the retry function, without comments and blank lines.
    pub sample_lines: usize,
    /// The time of a release build from scratch.
    pub build_seconds: Option<f64>,
    /// The size of the transfer sample's stripped binary.
    pub binary_bytes: Option<u64>,
}

/// Returns the median, or 0 if there are no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

/// Returns a figure with three significant digits, for readers.
pub fn readable(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
