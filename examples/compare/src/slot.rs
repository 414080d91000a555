//! One time slot of one contestant: transfers in a row, and their latencies.

use std::time::{Duration, Instant};

/// The latencies of a slot, and how often its transactions ran.
#[derive(Clone)]
pub struct Slot {
    latencies: Vec<Duration>,
    runs: u64,
    begin: Instant,
    /// The end of the last transfer.
    last: Instant,
    length: Duration,
    most: u64,
    workers: u64,
    /// The transfers of the slowest worker.
    least: u64,
}

impl Slot {
    /// Begins a slot that lasts this long, or has this number of transfers.
    pub fn begin(length: Duration, most: u64) -> Slot {
        let begin = Instant::now();
        Slot {
            latencies: Vec::new(),
            runs: 0,
            begin,
            last: begin,
            length,
            most,
            workers: 1,
            least: 0,
        }
    }

    /// Records a transfer that ends now and began when the last one ended. Returns whether the slot
    /// has room for another one.
    pub fn record(&mut self, runs: u32) -> bool {
        let now = Instant::now();
        self.latencies.push(now - self.last);
        self.runs += u64::from(runs);
        self.least += 1;
        self.last = now;
        self.transfers() < self.most && now - self.begin < self.length
    }

    /// Adds the slot of another worker, measured at the same time.
    pub fn add(mut self, other: Slot) -> Slot {
        self.latencies.extend(other.latencies);
        self.runs += other.runs;
        self.begin = self.begin.min(other.begin);
        self.last = self.last.max(other.last);
        self.workers += other.workers;
        self.least = self.least.min(other.least);
        self
    }

    pub fn transfers(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Returns the latency that this share of the transfers does not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut latencies = self.latencies.clone();
        latencies.sort();
        let rank = (quantile * latencies.len() as f64).ceil() as usize;
        latencies[rank.max(1) - 1].as_secs_f64() * 1000.0
    }

    /// Returns the figures of the slot with their names. Latencies include retries. The longest
    /// transfer and the share of the slowest worker, 1 if all are equal, show a worker that starves.
    pub fn figures(&self) -> [(&'static str, f64); 6] {
        let transfers = self.transfers().max(1) as f64;
        let elapsed = (self.last - self.begin).as_secs_f64();
        let share = (self.least * self.workers) as f64 / transfers;
        [
            ("transfers_per_second", transfers / elapsed),
            ("retries_per_transfer", self.runs as f64 / transfers - 1.0),
            ("p50_ms", self.quantile_ms(0.5)),
            ("p99_ms", self.quantile_ms(0.99)),
            ("longest_ms", self.quantile_ms(1.0)),
            ("slowest_worker_percent", 100.0 * share),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starved_worker_shows_in_the_share_of_the_slowest_and_in_the_longest_transfer() {
        let slot = |transfers, latency_ms| {
            let mut slot = Slot::begin(Duration::MAX, u64::MAX);
            slot.latencies = vec![Duration::from_millis(latency_ms); transfers];
            (slot.runs, slot.least) = (transfers as u64, transfers as u64);
            slot
        };
        let all = slot(150, 1).add(slot(147, 1)).add(slot(3, 3_400));
        let [.., p99, longest, share] = all.figures().map(|(_, value)| value);
        assert_eq!((share, p99, longest), (3.0, 1.0, 3_400.0));
    }
}
