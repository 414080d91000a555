//! One time slot of one contestant: transfers in a row, and their latencies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::contestant::Transfer;
use crate::figures::{Load, OneWorker};
use crate::progress::check_stopped;

/// The latencies of a slot, and how often its transactions ran.
#[derive(Clone)]
pub struct Slot {
    latencies_us: Histogram<u64>,
    runs: u64,
    elapsed: Duration,
    workers: u64,
    /// The transfers of the slowest worker.
    least: u64,
}

impl Slot {
    fn empty() -> Result<Slot> {
        Ok(Slot {
            latencies_us: Histogram::new(3)?,
            runs: 0,
            elapsed: Duration::ZERO,
            workers: 1,
            least: 0,
        })
    }

    /// Transfers from one account to the other until `enough` returns true.
    pub fn measure(
        connection: &mut dyn Transfer,
        [from, to]: [i64; 2],
        mut enough: impl FnMut() -> bool,
    ) -> Result<Slot> {
        let mut slot = Slot::empty()?;
        let begin = Instant::now();
        while !enough() {
            check_stopped()?;
            let before = Instant::now();
            let runs = connection.transfer(from, to).context("a transfer failed")?;
            slot.record(before.elapsed().as_micros() as u64, runs)?;
        }
        slot.elapsed = begin.elapsed();
        Ok(slot)
    }

    /// Returns the slot of a worker that has no pauses between its transfers.
    pub fn of(latencies_us: &[u64]) -> Result<Slot> {
        let mut slot = Slot::empty()?;
        for latency_us in latencies_us {
            slot.record(*latency_us, 1)?;
        }
        slot.elapsed = Duration::from_micros(latencies_us.iter().sum());
        Ok(slot)
    }

    fn record(&mut self, latency_us: u64, runs: u32) -> Result<()> {
        self.latencies_us.record(latency_us)?;
        self.runs += u64::from(runs);
        self.least += 1;
        Ok(())
    }

    /// Adds the slot of another worker, measured at the same time.
    pub fn add(mut self, other: Slot) -> Result<Slot> {
        self.latencies_us.add(&other.latencies_us)?;
        self.runs += other.runs;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.workers += other.workers;
        self.least = self.least.min(other.least);
        Ok(self)
    }

    pub fn transfers(&self) -> u64 {
        self.latencies_us.len()
    }

    /// Returns the latency that this share of the transfers does not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn per_second(&self) -> f64 {
        self.transfers() as f64 / self.elapsed.as_secs_f64()
    }

    pub fn retries_per_transfer(&self) -> f64 {
        let transfers = self.transfers();
        (self.runs - transfers) as f64 / transfers.max(1) as f64
    }

    /// Returns the transfers of the slowest worker as a share of an equal share: 1 if all are equal.
    pub fn slowest_worker_share(&self) -> f64 {
        (self.least * self.workers) as f64 / self.transfers().max(1) as f64
    }
}

impl OneWorker {
    /// Summarises the slots of one worker.
    pub fn of([first_ms, further_ms]: [Vec<f64>; 2], slots: &[Slot]) -> OneWorker {
        OneWorker {
            connect_ms: median(first_ms),
            connect_further_ms: median(further_ms),
            transfers_per_second: median_of(slots, Slot::per_second),
            p50_ms: median_of(slots, |slot| slot.quantile_ms(0.5)),
            p95_ms: median_of(slots, |slot| slot.quantile_ms(0.95)),
            p99_ms: median_of(slots, |slot| slot.quantile_ms(0.99)),
            max_ms: longest_ms(slots),
        }
    }
}

impl Load {
    /// Summarises the slots of workers that ran at the same time.
    pub fn of(slots: &[Slot]) -> Load {
        Load {
            transfers_per_second: median_of(slots, Slot::per_second),
            retries_per_transfer: median_of(slots, Slot::retries_per_transfer),
            p50_ms: median_of(slots, |slot| slot.quantile_ms(0.5)),
            p99_ms: median_of(slots, |slot| slot.quantile_ms(0.99)),
            longest_ms: longest_ms(slots),
            slowest_worker_share: median_of(slots, Slot::slowest_worker_share),
        }
    }
}

fn longest_ms(slots: &[Slot]) -> f64 {
    let longest = slots.iter().map(|slot| slot.quantile_ms(1.0));
    longest.fold(0.0, f64::max)
}

fn median_of(slots: &[Slot], figure: impl Fn(&Slot) -> f64) -> f64 {
    median(slots.iter().map(figure).collect())
}

/// Returns the median, or 0 if there are no values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starved_worker_shows_in_the_share_of_the_slowest_and_in_the_longest_transfer() {
        let slots = [[1_000; 150].as_slice(), &[1_000; 147], &[3_400_000; 3]];
        let [first, second, starved] = slots.map(|latencies_us| Slot::of(latencies_us).unwrap());
        let slot = first.add(second).unwrap().add(starved).unwrap();
        let load = Load::of(&[slot]);
        assert_eq!(load.slowest_worker_share, 0.03);
        assert_eq!(load.p99_ms, 1.0);
        assert!(load.longest_ms >= 3_400.0, "{}", load.longest_ms);
    }
}
