//! Latency, throughput and retries. The contestants alternate in short slots, so that a machine
//! whose speed drifts slows all of them alike. A figure is the median over the slots.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crdb_connection::DatabaseUrl;

use crate::contestant::{Contestant, Transfer, contestants};
use crate::figures::{Clients, Contention, Distance, Load, Measured, OneWorker};
use crate::options::Options;
use crate::pgbench::Pgbench;
use crate::progress::Progress;
use crate::round_trips::{self, Relayed};
use crate::slot::Slot;

/// The simulated distances, as times of a network round trip.
const DISTANCES_MS: [u64; 3] = [1, 10, 50];

/// The contestants with their figures, and what all measurements need.
pub struct Measurement<'a> {
    contestants: Vec<(Contestant, Measured)>,
    url: &'a DatabaseUrl,
    options: &'a Options,
    progress: Progress,
}

impl Measurement<'_> {
    pub fn new<'a>(url: &'a DatabaseUrl, options: &'a Options) -> Measurement<'a> {
        let contestants = contestants(&options.drivers).map(|contestant| {
            let measured = Measured {
                name: contestant.name.to_owned(),
                is_driver: options.drivers.iter().any(|name| name == contestant.name),
                ..Measured::default()
            };
            (contestant, measured)
        });
        let contestants: Vec<_> = contestants.collect();
        Measurement {
            url,
            options,
            progress: Progress::new(options.about(contestants.len())),
            contestants,
        }
    }

    /// Counts network round trips, those of pgbench too.
    pub fn round_trips(&mut self, relayed: &Relayed, pgbench: &mut Pgbench) -> Result<()> {
        for (contestant, measured) in &mut self.contestants {
            self.progress.begin("round trips", contestant.name)?;
            measured.round_trips = Some(round_trips::count(relayed, contestant)?);
        }
        self.progress.begin("round trips", "pgbench")?;
        pgbench.count_round_trips(relayed);
        Ok(())
    }

    /// Measures one worker behind each of the simulated distances.
    pub fn distance(&mut self, relayed: &Relayed) -> Result<()> {
        for (contestant, measured) in &mut self.contestants {
            relayed.relay.set_delay(Duration::ZERO);
            let mut connection = (contestant.connect)(&relayed.url)?;
            connection.transfer(11, 12)?;
            for round_trip_ms in DISTANCES_MS {
                let detail = format!("{}, {round_trip_ms} ms", contestant.name);
                self.progress.begin("distance", &detail)?;
                let begin = Instant::now();
                let each_way = Duration::from_micros(round_trip_ms * 500);
                relayed.relay.set_delay(each_way);
                let mut left = self.options.transfers_at_distance() + 1;
                let enough = || {
                    left -= 1;
                    left == 0
                };
                let slot = Slot::measure(connection.as_mut(), [12, 11], enough)?;
                measured.distance.push(Distance {
                    round_trip_ms,
                    transfer_p50_ms: slot.quantile_ms(0.5),
                });
                self.progress.done(begin.elapsed());
            }
        }
        relayed.relay.set_delay(Duration::ZERO);
        Ok(())
    }

    /// Measures connecting and transferring with one worker. pgbench has a slot in each round.
    pub fn one_worker(&mut self, pgbench: &mut Pgbench) -> Result<()> {
        let length = self.options.slot();
        let mut all: Vec<([Vec<f64>; 2], Vec<Slot>)> =
            vec![Default::default(); self.contestants.len()];
        for round in 1..=self.options.rounds() {
            for ((contestant, _), (connects_ms, slots)) in self.contestants.iter().zip(&mut all) {
                let detail = format!("{}, round {round}", contestant.name);
                self.progress.begin("one worker", &detail)?;
                // The copy has an OpenSSL connector of its own.
                let url = self.url.with("host", &self.url.get("host"))?;
                let timed = || {
                    let before = Instant::now();
                    let connection = (contestant.connect)(&url)?;
                    anyhow::Ok((connection, before.elapsed().as_secs_f64() * 1000.0))
                };
                let (first, first_ms) = timed()?;
                drop(first);
                let (mut connection, further_ms) = timed()?;
                connects_ms[0].push(first_ms);
                connects_ms[1].push(further_ms);
                // The first transfers fill the caches of the driver and the server.
                connection.transfer(11, 12)?;
                connection.transfer(12, 11)?;
                let end = Instant::now() + length;
                let enough = || Instant::now() >= end;
                slots.push(Slot::measure(connection.as_mut(), [11, 12], enough)?);
                self.progress.done(length);
            }
            let detail = format!("pgbench, round {round}");
            self.progress.begin("one worker", &detail)?;
            pgbench.measure_slot(length);
            self.progress.done(length);
        }
        for ((_, measured), (connects_ms, slots)) in self.contestants.iter_mut().zip(all) {
            measured.one_worker = Some(OneWorker::of(connects_ms, &slots));
        }
        Ok(())
    }

    /// Measures 1, 2, 4, … workers, each with its own connection, on four accounts.
    pub fn contention(&mut self) -> Result<()> {
        let mut connections: Vec<Vec<Box<dyn Transfer>>> = Vec::new();
        for (contestant, _) in &self.contestants {
            self.progress.begin("contention", contestant.name)?;
            let workers = (0..self.options.workers).map(|_| (contestant.connect)(self.url));
            let mut workers: Vec<_> = workers.collect::<Result<_>>()?;
            // The first transfers fill caches and pools.
            concurrently(&mut workers, self.options.slot() / 4).context(contestant.name)?;
            connections.push(workers);
        }
        for (workers, length) in self.options.contention() {
            let mut all: Vec<Vec<Slot>> = vec![Vec::new(); self.contestants.len()];
            for round in 1..=self.options.rounds() {
                for (place, (contestant, _)) in self.contestants.iter().enumerate() {
                    let detail = format!("{}, {workers} workers, round {round}", contestant.name);
                    self.progress.begin("contention", &detail)?;
                    let connections = &mut connections[place][..usize::from(workers)];
                    let slot = concurrently(connections, length);
                    all[place].push(slot.context(contestant.name)?);
                    self.progress.done(length);
                }
            }
            for ((_, measured), slots) in self.contestants.iter_mut().zip(&all) {
                let load = Load::of(slots);
                measured.contention = Some(Contention {
                    load: load.clone(),
                    balances_conserved: true,
                });
                measured.clients.push(Clients { workers, load });
            }
        }
        Ok(())
    }

    /// Ends the measurement and returns the figures in the order of the contestants.
    pub fn figures(self) -> Vec<Measured> {
        let figures = self.contestants.into_iter();
        figures.map(|(_, measured)| measured).collect()
    }
}

/// Lets all workers begin at once and stops them after `length` or at the first failure.
fn concurrently(workers: &mut [Box<dyn Transfer>], length: Duration) -> Result<Slot> {
    let (ready, failed) = (&Barrier::new(workers.len()), &AtomicBool::new(false));
    let slots: Vec<Result<Slot>> = thread::scope(|scope| {
        let workers = workers.iter_mut().enumerate().map(|(number, connection)| {
            scope.spawn(move || {
                ready.wait();
                let end = Instant::now() + length;
                let enough = || Instant::now() >= end || failed.load(Ordering::Relaxed);
                let slot = Slot::measure(connection.as_mut(), accounts(number), enough);
                if slot.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                slot
            })
        });
        // All must have started before one is waited for.
        let workers: Vec<_> = workers.collect();
        let panicked = |_| Err(anyhow!("a worker panicked"));
        let join = |worker: ScopedJoinHandle<_>| worker.join().unwrap_or_else(panicked);
        workers.into_iter().map(join).collect()
    });
    let all = slots.into_iter().reduce(|all, slot| all?.add(slot?));
    all.context("there is no worker")?
}

/// Returns the worker's accounts: each ordered pair of the four in turn, so that workers conflict.
fn accounts(worker: usize) -> [i64; 2] {
    let from = worker % 4;
    let to = (from + 1 + worker / 4 % 3) % 4;
    [13 + from as i64, 13 + to as i64]
}
