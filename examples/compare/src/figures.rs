//! The figures, with their units in their names. Latencies include retries.

use serde::Serialize;

use crate::server::Server;

/// All figures of a run.
#[derive(Default, Serialize)]
pub struct Figures {
    pub server: Server,
    pub host: String,
    /// The client.
    pub machine: String,
    pub versions: Vec<(String, String)>,
    /// The number of slots in which each figure was measured.
    pub rounds: usize,
    /// The largest number of workers under contention.
    pub workers: u16,
    /// Whether each account was in a range of its own. By default all are in one.
    pub spread: bool,
    /// The parts that were left out, each with the reason.
    pub left_out: Vec<String>,
    /// The drivers in the order of their list, then the yardsticks.
    pub contestants: Vec<Measured>,
}

impl Figures {
    /// Returns how the accounts are spread over ranges, on CockroachDB.
    pub fn ranges(&self) -> Option<&'static str> {
        let ranges = if self.spread {
            "each account in a range of its own"
        } else {
            "all accounts in one range"
        };
        self.server.is_cockroachdb().then_some(ranges)
    }
}

/// The figures of a driver or yardstick. A figure that was not measured is null.
#[derive(Default, Serialize)]
pub struct Measured {
    pub name: String,
    #[serde(skip)]
    pub is_driver: bool,
    pub round_trips: Option<RoundTrips>,
    pub one_worker: Option<OneWorker>,
    pub contention: Option<Contention>,
    /// 1, 2, 4, … workers under contention; `contention` has the figures of the last number.
    pub clients: Vec<Clients>,
    pub distance: Vec<Distance>,
}

/// Network round trips.
#[derive(Serialize)]
pub struct RoundTrips {
    pub connect: Option<u64>,
    pub transfer_first: Option<u64>,
    /// For each further transfer.
    pub transfer_steady: u64,
}

/// One worker; medians over the slots.
#[derive(Serialize)]
pub struct OneWorker {
    /// The first connection of a `DatabaseUrl`, which builds its OpenSSL connector.
    pub connect_ms: f64,
    /// Each further connection.
    pub connect_further_ms: f64,
    pub transfers_per_second: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// The slowest transfer of all slots.
    pub max_ms: f64,
}

/// The largest number of workers, on four accounts.
#[derive(Serialize)]
pub struct Contention {
    #[serde(flatten)]
    pub load: Load,
    /// Whether the sum of the balances is unchanged. If it is not, the run fails.
    pub balances_conserved: bool,
}

/// A number of workers on four accounts.
#[derive(Clone, Serialize)]
pub struct Clients {
    pub workers: u16,
    #[serde(flatten)]
    pub load: Load,
}

/// All workers together; medians over the slots.
#[derive(Clone, Default, Serialize)]
pub struct Load {
    pub transfers_per_second: f64,
    pub retries_per_transfer: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The longest transfer of all slots. p99 does not show a worker that starves.
    pub longest_ms: f64,
    /// The transfers of the slowest worker, as a share of an equal share.
    pub slowest_worker_share: f64,
}

/// One worker at one simulated distance.
#[derive(Serialize)]
pub struct Distance {
    /// The distance, as the time of a network round trip.
    pub round_trip_ms: u64,
    pub transfer_p50_ms: f64,
}
