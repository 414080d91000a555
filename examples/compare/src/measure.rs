//! Latency, throughput and retries. The contestants take turns in short rounds, so that a machine whose
//! speed drifts slows all of them alike. A figure is the median over the rounds.

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use crdb_connection::Config;

use crate::contestant::Contestant;
use crate::figures::{Contention, Distance, OneWorker, median};
use crate::options::Options;
use crate::pgbench::Pgbench;
use crate::progress::Progress;
use crate::relayed::Relayed;
use crate::transfer::Transfer;
use crate::turn::{self, Turn};

/// The simulated distances, as times of a network round trip.
pub const DISTANCES_MS: [u64; 3] = [1, 10, 50];

/// Measures connecting and transferring with one worker. pgbench takes its turn in each round.
///
/// # Errors
///
/// Returns an error if a connection or a transfer fails, or after Ctrl-C.
pub fn one_worker(
    contestants: &[Contestant],
    pgbench: &mut Pgbench,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<OneWorker>> {
    let mut connections = Vec::new();
    let mut connects_ms: Vec<Vec<f64>> = Vec::new();
    for contestant in contestants {
        progress.begin("one worker", contestant.name)?;
        let mut times = Vec::new();
        for _ in 0..options.rounds() {
            let before = Instant::now();
            let mut connection = (contestant.connect)(config)?;
            times.push(before.elapsed().as_secs_f64() * 1000.0);
            connection.transfer(11, 12)?;
            connection.transfer(12, 11)?;
            if times.len() == options.rounds() {
                connections.push(connection);
            }
        }
        connects_ms.push(times);
    }
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds() {
        for ((contestant, connection), turns) in
            contestants.iter().zip(&mut connections).zip(&mut turns)
        {
            progress.begin("one worker", &format!("{}, round {round}", contestant.name))?;
            let end = Instant::now() + options.turn();
            let enough = || Instant::now() >= end;
            turns.push(Turn::take(connection.as_mut(), [11, 12], enough)?);
            progress.done(options.turn());
        }
        progress.begin("one worker", &format!("pgbench, round {round}"))?;
        pgbench.take_turn(options.turn());
        progress.done(options.turn());
    }
    Ok(connects_ms
        .iter()
        .zip(&turns)
        .map(|(connects_ms, turns)| turn::one_worker(connects_ms, turns))
        .collect())
}

/// Measures several workers, each with its own connection, on four accounts.
///
/// # Errors
///
/// Returns an error if a connection or a transfer fails, or after Ctrl-C.
pub fn contention(
    contestants: &[Contestant],
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Contention>> {
    let mut connections: Vec<Vec<Box<dyn Transfer>>> = Vec::new();
    for contestant in contestants {
        progress.begin("contention", contestant.name)?;
        let workers = (0..options.workers).map(|_| (contestant.connect)(config));
        connections.push(workers.collect::<Result<_>>()?);
    }
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds() {
        for ((contestant, workers), turns) in
            contestants.iter().zip(&mut connections).zip(&mut turns)
        {
            progress.begin("contention", &format!("{}, round {round}", contestant.name))?;
            turns.push(turn_of_workers(workers, options.turn())?);
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

/// Lets all workers begin at once and stops them together, after `length` or at the first failure.
fn turn_of_workers(workers: &mut [Box<dyn Transfer>], length: Duration) -> Result<Turn> {
    let (ready, enough) = (&Barrier::new(workers.len() + 1), &AtomicBool::new(false));
    let turns: Vec<Result<Turn>> = thread::scope(|scope| {
        let workers: Vec<_> = workers
            .iter_mut()
            .enumerate()
            .map(|(number, connection)| {
                scope.spawn(move || {
                    ready.wait();
                    let turn = Turn::take(connection.as_mut(), accounts(number), || {
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
    let mut all = Turn::empty()?;
    for turn in turns {
        all.add(&turn?)?;
    }
    Ok(all)
}

/// Returns the worker's accounts: each ordered pair of the four in turn, so that workers conflict.
fn accounts(worker: usize) -> [i64; 2] {
    let from = worker % 4;
    let to = (from + 1 + worker / 4 % 3) % 4;
    [13 + from as i64, 13 + to as i64]
}

/// Measures one worker behind each of the simulated distances.
///
/// # Errors
///
/// Returns an error if a connection or a transfer fails, or after Ctrl-C.
pub fn distance(
    contestants: &[Contestant],
    relayed: &Relayed,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Vec<Distance>>> {
    let mut figures: Vec<Vec<Distance>> = contestants.iter().map(|_| Vec::new()).collect();
    for (contestant, figures) in contestants.iter().zip(&mut figures) {
        relayed.relay.set_delay(Duration::ZERO);
        let mut connection = (contestant.connect)(&relayed.config)?;
        connection.transfer(11, 12)?;
        for round_trip_ms in DISTANCES_MS {
            let detail = format!("{}, {round_trip_ms} ms", contestant.name);
            progress.begin("distance", &detail)?;
            let begin = Instant::now();
            let each_way = Duration::from_micros(round_trip_ms * 500);
            relayed.relay.set_delay(each_way);
            let count = Cell::new(0);
            let enough = || count.replace(count.get() + 1) >= options.transfers_at_distance();
            let turn = Turn::take(connection.as_mut(), [12, 11], enough)?;
            figures.push(Distance {
                round_trip_ms,
                transfer_p50_ms: turn.quantile_ms(0.5),
            });
            progress.done(begin.elapsed());
        }
    }
    relayed.relay.set_delay(Duration::ZERO);
    Ok(figures)
}
