//! Measures in rounds. In each round each contestant has a short slot for each figure, so that a
//! machine whose speed drifts slows all of them alike, and the drift shows in the spread.

use std::time::Duration;

use anyhow::Result;
use crdb_conformance::Threads;

use crate::client::{IDS, Job};
use crate::contestant::{Contestant, contestants};
use crate::cost::{self, Sources};
use crate::figures::Measured;
use crate::options::Options;
use crate::pgbench::Pgbench;
use crate::progress::Progress;
use crate::round_trips::{self, Relayed};
use crate::schema::{CUSTOMERS, FIRST_ACCOUNT, Schema};
use crate::slot::Slot;

/// The contestants with their figures, and what all measurements need.
pub struct Measurement<'a> {
    contestants: Vec<(Contestant, Measured)>,
    pgbench: Pgbench,
    schema: &'a Schema,
    options: &'a Options,
    /// The first account that no job has used, and the first id that no job has inserted.
    next_account: i64,
    next_id: i64,
    progress: Progress,
}

impl Measurement<'_> {
    pub fn new<'a>(schema: &'a Schema, options: &'a Options) -> Measurement<'a> {
        let contestants = contestants(&options.drivers).map(|contestant| {
            let measured = Measured {
                name: contestant.name.to_owned(),
                is_driver: contestant.is_driver,
                ..Measured::default()
            };
            (contestant, measured)
        });
        Measurement {
            contestants: contestants.collect(),
            pgbench: Pgbench::find(&schema.url),
            schema,
            options,
            next_account: FIRST_ACCOUNT,
            next_id: CUSTOMERS + 1,
            progress: Progress::new(options.rounds()),
        }
    }

    /// Counts network round trips, those of pgbench too.
    pub fn round_trips(&mut self, relayed: &Relayed) -> Result<()> {
        for (contestant, measured) in &mut self.contestants {
            self.progress.begin("round trips", contestant.name)?;
            for (name, count) in round_trips::count(relayed, contestant)? {
                measured.add(&format!("round_trips.{name}"), count as f64);
            }
        }
        self.progress.begin("round trips", "pgbench")?;
        self.pgbench.count_round_trips(relayed);
        Ok(())
    }

    /// Measures one worker behind each of the simulated distances, for one round.
    pub fn distance(&mut self, relayed: &Relayed) -> Result<()> {
        for (contestant, measured) in &mut self.contestants {
            let mut connection = (contestant.connect)(Threads::One, &relayed.url)?;
            connection.transfers([11, 12], Slot::begin(Duration::MAX, 2))?;
            for distance_ms in [1, 10, 50] {
                let detail = format!("{}, {distance_ms} ms", contestant.name);
                self.progress.begin("distance", &detail)?;
                let each_way = Duration::from_micros(distance_ms * 500);
                relayed.relay.set_delay(each_way);
                let slot = Slot::begin(Duration::MAX, self.options.transfers_at_distance());
                let slot = connection.transfers([12, 11], slot)?;
                let name = format!("distance_{distance_ms}_ms.p50_ms");
                measured.add(&name, slot.quantile_ms(0.5));
            }
            relayed.relay.set_delay(Duration::ZERO);
        }
        Ok(())
    }

    /// Measures 1, 2, 4, … workers and many rows, and one worker on the runtime of a service, for one
    /// round.
    pub fn round(&mut self) -> Result<()> {
        for on_service in [false, true] {
            for (contestant, measured) in &mut self.contestants {
                let mut workers = self.options.workers();
                if on_service {
                    workers.truncate(1);
                    if !contestant.is_asynchronous {
                        continue;
                    }
                }
                self.progress.begin("transfers", contestant.name)?;
                let job = Job {
                    host: self.schema.url.get("host"),
                    schema: self.schema.name.clone(),
                    contestant: contestant.name.to_owned(),
                    on_service,
                    workers,
                    length: self.options.slot(),
                    first_account: self.next_account,
                    first_id: self.next_id,
                };
                self.next_account += 4 * job.workers.len() as i64;
                self.next_id += IDS;
                for (name, value) in job.run_in_process()? {
                    measured.add(&name, value);
                }
            }
        }
        self.progress.begin("transfers", "pgbench")?;
        self.pgbench.measure_slot(self.options.slot());
        self.progress.done();
        Ok(())
    }

    /// Finds out what each driver costs to have, with two builds of each if they are wanted.
    pub fn cost(&mut self) -> Result<()> {
        let sources = self.options.build.then(Sources::copy).transpose()?;
        let drivers = self.contestants.iter_mut().filter(|(one, _)| one.is_driver);
        for (Contestant { name, .. }, measured) in drivers {
            self.progress.begin("what it costs to have", name)?;
            let mut figures = cost::sizes(name)?.to_vec();
            for sources in sources.iter().chain(&sources) {
                figures.extend(sources.build(name)?);
            }
            for (name, value) in figures {
                measured.add(&format!("cost.{name}"), value);
            }
        }
        Ok(())
    }

    /// Returns the figures in the order of the contestants, and the reason why pgbench has none.
    pub fn figures(self) -> (Vec<Measured>, Option<String>) {
        let measured = self.contestants.into_iter().map(|(_, measured)| measured);
        match self.pgbench.figures() {
            Ok(pgbench) => (measured.chain([pgbench]).collect(), None),
            Err(reason) => (measured.collect(), Some(reason)),
        }
    }
}
