//! What was measured, with the units in the names.

use serde::Serialize;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// What `SELECT version()` says.
    pub server: String,
    /// The host and port.
    pub host: String,
    /// The machine that this ran on.
    pub machine: String,
    /// The drivers' versions.
    pub versions: Vec<(String, String)>,
    /// Rounds in which the drivers took turns.
    pub rounds: usize,
    /// Workers that fought for the accounts.
    pub workers: u16,
    /// Why parts were left out, if any were.
    pub left_out: Vec<String>,
    /// Each driver, in the order that they were asked for; then the yardsticks.
    pub contestants: Vec<Measured>,
}

/// One driver or yardstick. What does not apply, or was left out, is null.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Network round trips.
    pub round_trips: Option<RoundTrips>,
    /// One worker by itself.
    pub one_worker: Option<OneWorker>,
    /// Several workers on few accounts.
    pub contention: Option<Contention>,
    /// Behind simulated distances.
    pub distance: Vec<Distance>,
    /// What it costs to take it on.
    pub cost: Option<Cost>,
}

/// Network round trips, counted.
#[derive(Clone, Debug, Serialize)]
pub struct RoundTrips {
    /// To connect.
    pub connect: u64,
    /// For the basic sample's statements.
    pub basic: Option<u64>,
    /// For the first transfer.
    pub transfer_first: u64,
    /// For each further transfer.
    pub transfer_steady: u64,
    /// For a transfer that is retried once.
    pub transfer_retried_once: Option<u64>,
}

/// One worker by itself; medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct OneWorker {
    /// Time to connect.
    pub connect_ms: f64,
    /// Transfers per second.
    pub transfers_per_second: f64,
    /// The median transfer.
    pub p50_ms: f64,
    /// 95 of 100 transfers take at most this.
    pub p95_ms: f64,
    /// 99 of 100 transfers take at most this.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Several workers on few accounts; medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Contention {
    /// Transfers per second, of all workers together.
    pub transfers_per_second: f64,
    /// Retries for each transfer.
    pub retries_per_transfer: f64,
    /// The median transfer, retries included.
    pub p50_ms: f64,
    /// 99 of 100 transfers take at most this.
    pub p99_ms: f64,
    /// Whether the sum of the balances was right at the end.
    pub balances_conserved: bool,
}

/// One simulated distance.
#[derive(Clone, Debug, Serialize)]
pub struct Distance {
    /// The time of a round trip.
    pub round_trip_ms: u64,
    /// The median transfer.
    pub transfer_p50_ms: f64,
}

/// What it costs to take a driver on.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Crates in its dependency tree.
    pub crates: Option<usize>,
    /// Lines of its two samples, its connect and its retry function, without comments and blank lines.
    pub sample_lines: usize,
    /// A release build from nothing.
    pub build_seconds: Option<f64>,
    /// The stripped binary of its transfer sample.
    pub binary_bytes: Option<u64>,
}

/// The middle value.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}
