//! Latency and throughput. The contestants take turns in short rounds, so that a machine whose speed drifts
//! treats them alike; what counts is the median over the rounds.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crdb_connection::Config;
use crdb_local_cluster::Relay;
use hdrhistogram::Histogram;

use crate::contestant::{Contestant, Subject};
use crate::figures::{Contention, Distance, OneWorker, median};
use crate::options::Options;
use crate::progress::Progress;
use crate::stop;

/// The times of round trips that are simulated.
pub const DISTANCES_MS: [u64; 3] = [1, 10, 50];

/// One turn of one contestant: the latencies in microseconds, and how many transactions ran.
struct Turn {
    latencies: Histogram<u64>,
    runs: u64,
    elapsed: Duration,
}

impl Turn {
    fn new() -> Result<Turn> {
        Ok(Turn {
            latencies: Histogram::new(3)?,
            runs: 0,
            elapsed: Duration::ZERO,
        })
    }

    /// Transfers from one account to the other until it is time.
    fn take(
        subject: &mut dyn Subject,
        [from, to]: [i64; 2],
        enough: impl Fn() -> bool,
    ) -> Result<Turn> {
        let mut turn = Turn::new()?;
        let begin = Instant::now();
        while !enough() {
            stop::check()?;
            let before = Instant::now();
            let runs = subject
                .transfer(from, to)
                .map_err(|error| anyhow!(error))
                .context("a transfer failed")?;
            turn.latencies.record(before.elapsed().as_micros() as u64)?;
            turn.runs += u64::from(runs);
        }
        turn.elapsed = begin.elapsed();
        Ok(turn)
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn retries_per_transfer(&self) -> f64 {
        let transfers = self.latencies.len();
        (self.runs - transfers) as f64 / transfers.max(1) as f64
    }
}

/// Each contestant by itself, connecting apart.
///
/// # Errors
///
/// A connection or a transfer fails, or Ctrl-C is pressed.
pub fn one_worker(
    contestants: &[Contestant],
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<OneWorker>> {
    let mut subjects = Vec::new();
    let mut connects: Vec<Vec<f64>> = Vec::new();
    for contestant in contestants {
        progress.begin("one worker", contestant.name)?;
        let mut times = Vec::new();
        for _ in 0..options.rounds() {
            let before = Instant::now();
            let mut subject = (contestant.connect)(config)?;
            times.push(before.elapsed().as_secs_f64() * 1000.0);
            subject.transfer(11, 12).map_err(|error| anyhow!(error))?;
            subject.transfer(12, 11).map_err(|error| anyhow!(error))?;
            if times.len() == options.rounds() {
                subjects.push(subject);
            }
        }
        connects.push(times);
    }
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds() {
        for ((contestant, subject), turns) in contestants.iter().zip(&mut subjects).zip(&mut turns)
        {
            progress.begin("one worker", &format!("{}, round {round}", contestant.name))?;
            let end = Instant::now() + options.turn();
            turns.push(Turn::take(subject.as_mut(), [11, 12], || {
                Instant::now() >= end
            })?);
            progress.done(options.turn());
        }
    }
    let figures = turns.iter().zip(connects).map(|(turns, connects)| {
        let quantile = |quantile| median(turns.iter().map(|turn| turn.quantile_ms(quantile)));
        OneWorker {
            connect_ms: median(connects),
            transfers_per_second: median(turns.iter().map(Turn::per_second)),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            max_ms: turns
                .iter()
                .map(|turn| turn.latencies.max() as f64 / 1000.0)
                .fold(0.0, f64::max),
        }
    });
    Ok(figures.collect())
}

/// Each contestant with several workers, each on a connection of its own, on four accounts.
///
/// # Errors
///
/// A connection or a transfer fails, or Ctrl-C is pressed.
pub fn contention(
    contestants: &[Contestant],
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Contention>> {
    let mut crews: Vec<Vec<Box<dyn Subject>>> = Vec::new();
    for contestant in contestants {
        progress.begin("contention", contestant.name)?;
        let crew = (0..options.workers).map(|_| (contestant.connect)(config));
        crews.push(crew.collect::<Result<_, _>>()?);
    }
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds() {
        for ((contestant, crew), turns) in contestants.iter().zip(&mut crews).zip(&mut turns) {
            progress.begin("contention", &format!("{}, round {round}", contestant.name))?;
            turns.push(crew_turn(crew, options.turn())?);
            progress.done(options.turn());
        }
    }
    let figures = turns.iter().map(|turns| Contention {
        transfers_per_second: median(turns.iter().map(Turn::per_second)),
        retries_per_transfer: median(turns.iter().map(Turn::retries_per_transfer)),
        p50_ms: median(turns.iter().map(|turn| turn.quantile_ms(0.5))),
        p99_ms: median(turns.iter().map(|turn| turn.quantile_ms(0.99))),
        balances_conserved: false,
    });
    Ok(figures.collect())
}

fn crew_turn(crew: &mut [Box<dyn Subject>], length: Duration) -> Result<Turn> {
    let (ready, enough) = (Barrier::new(crew.len() + 1), AtomicBool::new(false));
    let mut all = Turn::new()?;
    let (ready, enough) = (&ready, &enough);
    let turns: Vec<Result<Turn>> = thread::scope(|scope| {
        let workers: Vec<_> = crew
            .iter_mut()
            .enumerate()
            .map(|(number, subject)| {
                scope.spawn(move || {
                    let first = number as i64 % 4;
                    let accounts = [13 + first, 13 + (first + 1 + number as i64 / 4 % 3) % 4];
                    ready.wait();
                    let turn = Turn::take(subject.as_mut(), accounts, || {
                        enough.load(Ordering::Relaxed)
                    });
                    if turn.is_err() {
                        enough.store(true, Ordering::Relaxed);
                    }
                    turn
                })
            })
            .collect();
        ready.wait();
        let begin = Instant::now();
        while begin.elapsed() < length && !enough.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        enough.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a worker panicked")))
            })
            .collect()
    });
    for turn in turns {
        let turn = turn?;
        all.latencies.add(&turn.latencies)?;
        all.runs += turn.runs;
        all.elapsed = all.elapsed.max(turn.elapsed);
    }
    Ok(all)
}

/// Each contestant behind the simulated distances.
///
/// # Errors
///
/// A connection or a transfer fails, or Ctrl-C is pressed.
pub fn distance(
    contestants: &[Contestant],
    relayed: &Config,
    relay: &Relay,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Vec<Distance>>> {
    let mut figures: Vec<Vec<Distance>> = contestants.iter().map(|_| Vec::new()).collect();
    for (contestant, figures) in contestants.iter().zip(&mut figures) {
        relay.set_delay(Duration::ZERO);
        let mut subject = (contestant.connect)(relayed)?;
        subject.transfer(11, 12).map_err(|error| anyhow!(error))?;
        for round_trip_ms in DISTANCES_MS {
            progress.begin(
                "distance",
                &format!("{}, {round_trip_ms} ms", contestant.name),
            )?;
            let begin = Instant::now();
            relay.set_delay(Duration::from_micros(round_trip_ms * 500));
            let count = std::cell::Cell::new(0);
            let enough = || count.replace(count.get() + 1) >= options.transfers_at_distance();
            let turn = Turn::take(subject.as_mut(), [12, 11], enough)?;
            figures.push(Distance {
                round_trip_ms,
                transfer_p50_ms: turn.quantile_ms(0.5),
            });
            progress.done(begin.elapsed());
        }
    }
    relay.set_delay(Duration::ZERO);
    Ok(figures)
}
