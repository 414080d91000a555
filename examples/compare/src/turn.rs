//! One turn of one contestant: transfers in a row, and their latencies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::figures::{OneWorker, median};
use crate::stop;
use crate::transfer::Transfer;

/// The latencies of a turn, and how often its transactions ran.
pub struct Turn {
    latencies_us: Histogram<u64>,
    runs: u64,
    elapsed: Duration,
}

impl Turn {
    /// Returns a turn without transfers.
    ///
    /// # Errors
    ///
    /// Returns an error if the histogram cannot be made.
    pub fn empty() -> Result<Turn> {
        Ok(Turn {
            latencies_us: Histogram::new(3)?,
            runs: 0,
            elapsed: Duration::ZERO,
        })
    }

    /// Transfers from one account to the other until `enough` returns true.
    ///
    /// # Errors
    ///
    /// Returns an error if a transfer fails, or after Ctrl-C.
    pub fn take(
        connection: &mut dyn Transfer,
        [from, to]: [i64; 2],
        enough: impl Fn() -> bool,
    ) -> Result<Turn> {
        let mut turn = Turn::empty()?;
        let begin = Instant::now();
        while !enough() {
            stop::check()?;
            let before = Instant::now();
            let runs = connection.transfer(from, to).context("a transfer failed")?;
            turn.record(before.elapsed().as_micros() as u64, runs)?;
        }
        turn.elapsed = begin.elapsed();
        Ok(turn)
    }

    /// Returns a turn that was measured elsewhere.
    ///
    /// # Errors
    ///
    /// Returns an error if a latency is out of range.
    pub fn of(latencies_us: impl IntoIterator<Item = u64>, per_second: f64) -> Result<Turn> {
        let mut turn = Turn::empty()?;
        for latency_us in latencies_us {
            turn.record(latency_us, 1)?;
        }
        turn.elapsed = Duration::from_secs_f64(turn.latencies_us.len() as f64 / per_second);
        Ok(turn)
    }

    fn record(&mut self, latency_us: u64, runs: u32) -> Result<()> {
        self.latencies_us.record(latency_us)?;
        self.runs += u64::from(runs);
        Ok(())
    }

    /// Adds the turn of another worker, taken at the same time.
    ///
    /// # Errors
    ///
    /// Returns an error if a latency is out of range.
    pub fn add(&mut self, other: &Turn) -> Result<()> {
        self.latencies_us.add(&other.latencies_us)?;
        self.runs += other.runs;
        self.elapsed = self.elapsed.max(other.elapsed);
        Ok(())
    }

    /// Returns the number of transfers.
    pub fn transfers(&self) -> u64 {
        self.latencies_us.len()
    }

    /// Returns the latency that this share of the transfers does not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Returns the latency of the slowest transfer.
    pub fn max_ms(&self) -> f64 {
        self.latencies_us.max() as f64 / 1000.0
    }

    /// Returns the throughput.
    pub fn per_second(&self) -> f64 {
        self.transfers() as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the number of retries divided by the number of transfers.
    pub fn retries_per_transfer(&self) -> f64 {
        let transfers = self.transfers();
        (self.runs - transfers) as f64 / transfers.max(1) as f64
    }
}

/// Returns the medians over the turns of one worker.
pub fn one_worker(connects_ms: &[f64], turns: &[Turn]) -> OneWorker {
    let quantile = |quantile| median(turns.iter().map(|turn| turn.quantile_ms(quantile)));
    OneWorker {
        connect_ms: median(connects_ms.iter().copied()),
        transfers_per_second: median(turns.iter().map(Turn::per_second)),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        max_ms: turns.iter().map(Turn::max_ms).fold(0.0, f64::max),
    }
}
