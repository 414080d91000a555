//! The slots of one contestant in one round, in a process of its own, which runs nothing else: so its
//! CPU time and its memory are the driver's.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use std::{env, fs, slice, thread};

use anyhow::{Context, Result, ensure};
use crdb_conformance::Threads;
use crdb_connection::DatabaseUrl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::contestant::{Connection, contestants};
use crate::figures::median;
use crate::progress::Stopped;
use crate::schema::{CUSTOMERS, customer, in_schema};
use crate::slot::Slot;

/// The number of rows that are inserted, and how often.
const INSERTED: i64 = 1000;
const REPETITIONS: i64 = 3;

/// The number of ids that a job inserts.
pub const IDS: i64 = INSERTED * REPETITIONS;

/// What such a process measures.
#[derive(Serialize, Deserialize)]
pub struct Job {
    /// The host of the connection string.
    pub host: String,
    pub schema: String,
    pub contestant: String,
    /// Whether an asynchronous driver runs on the runtime of a service, and not of the samples.
    pub on_service: bool,
    /// The numbers of workers. The first number is 1.
    pub workers: Vec<u16>,
    /// The length of each slot.
    pub length: Duration,
    /// The first of the accounts, four for each number of workers, and the first of the ids to insert.
    /// No other job uses them.
    pub first_account: i64,
    pub first_id: i64,
}

/// The names of the figures and their values.
type Values = BTreeMap<String, f64>;

impl Job {
    /// Runs the job in a new process and returns its figures.
    pub fn run_in_process(&self) -> Result<Values> {
        let mut process = Command::new(env::current_exe()?);
        process.args(["--job", &serde_json::to_string(self)?]);
        let output = process.env("RUST_BACKTRACE", "0").output()?;
        // A terminal or `kill` can send what stops the run to both processes.
        let stops = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let signal = output.status.signal();
        if stops.into_iter().any(|stop| signal == Some(stop as i32)) {
            return Err(Stopped.into());
        }
        let (status, error) = (output.status, String::from_utf8_lossy(&output.stderr));
        let error = error.trim().trim_start_matches("Error: ");
        ensure!(
            status.success(),
            "{} ended with {status}: {error}",
            self.contestant
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs the job in this process and prints its figures.
    pub fn run(&self) -> Result<()> {
        let url = DatabaseUrl::from_env()?.with("host", &self.host)?;
        let url = in_schema(&url, &self.schema)?;
        let mut all = contestants(slice::from_ref(&self.contestant));
        let contestant = all.find(|one| one.name == self.contestant);
        let contestant = contestant.context("there is no such contestant")?;
        let threads = if self.on_service {
            Threads::EachCore
        } else {
            Threads::One
        };
        let connect = || (contestant.connect)(threads, &url);
        let mut values = Values::new();
        let mut workers: Vec<Box<dyn Connection>> = Vec::new();
        for (count, first) in self.workers.iter().zip((self.first_account..).step_by(4)) {
            let part = if self.on_service {
                "service".to_owned()
            } else {
                format!("workers_{count}")
            };
            let mut set = |name: &str, value| values.insert(format!("{part}.{name}"), value);
            if workers.is_empty() {
                // The first connection of a `DatabaseUrl` builds its OpenSSL connector.
                set("connect_first_ms", timed(connect)?.1);
                set("connect_again_ms", timed(connect)?.1);
            }
            while workers.len() < usize::from(*count) {
                workers.push((contestant.connect_worker)(threads, &url)?);
            }
            // The first transfers fill caches.
            concurrently(&mut workers, first, self.length)?;
            let before_ms = cpu_ms()?;
            let slot = concurrently(&mut workers, first, self.length)?;
            set("cpu_ms", (cpu_ms()? - before_ms) / slot.transfers() as f64);
            for (name, value) in slot.figures() {
                set(name, value);
            }
            if *count == 1 {
                set("memory_mib", peak_memory_mib()?);
            }
            if *count == 1 && !self.on_service && contestant.is_driver {
                let [insert_ms, read_ms] = many_rows(workers[0].as_mut(), self.first_id)?;
                set("insert_1000_rows_ms", insert_ms);
                set("read_10000_rows_ms", read_ms);
            }
        }
        println!("{}", serde_json::to_string(&values)?);
        Ok(())
    }
}

/// Lets all workers begin at once, on four accounts.
fn concurrently(
    workers: &mut [Box<dyn Connection>],
    first_account: i64,
    length: Duration,
) -> Result<Slot> {
    let ready = &Barrier::new(workers.len());
    thread::scope(|scope| {
        let threads = workers.iter_mut().enumerate().map(|(number, worker)| {
            scope.spawn(move || {
                ready.wait();
                let accounts = accounts(number).map(|place| first_account + place);
                worker.transfers(accounts, Slot::begin(length, u64::MAX))
            })
        });
        // All must have started before one is waited for.
        let threads: Vec<_> = threads.collect();
        let slots = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        let all = slots.reduce(|all, slot| Ok(all?.add(slot?)));
        all.context("there is no worker")?
    })
}

/// Returns the medians of the times to insert and to read rows.
fn many_rows(connection: &mut dyn Connection, first_id: i64) -> Result<[f64; 2]> {
    let (mut inserts_ms, mut reads_ms) = (Vec::new(), Vec::new());
    for first in (first_id..first_id + IDS).step_by(INSERTED as usize) {
        let customers: Vec<_> = (first..first + INSERTED).map(customer).collect();
        inserts_ms.push(timed(|| connection.insert(&customers))?.1);
        let mut read = 0;
        let mut each = |id, _| read += i64::from(id == read + 1);
        reads_ms.push(timed(|| connection.read(CUSTOMERS, &mut each))?.1);
        ensure!(read == CUSTOMERS, "rows are missing: {read} were read");
    }
    Ok([inserts_ms, reads_ms].map(|mut values| median(&mut values)))
}

/// Returns the worker's accounts: each ordered pair of the four in turn, so that workers conflict.
fn accounts(worker: usize) -> [i64; 2] {
    let from = worker % 4;
    let to = (from + 1 + worker / 4 % 3) % 4;
    [from as i64, to as i64]
}

/// Returns what `action` returns, and the milliseconds that it took.
fn timed<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = Instant::now();
    let result = action()?;
    Ok((result, before.elapsed().as_secs_f64() * 1000.0))
}

/// Returns the CPU time of this process so far, user and system.
fn cpu_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = usage.user_time() + usage.system_time();
    Ok(time.num_microseconds() as f64 / 1000.0)
}

/// Returns the largest memory of this process so far.
fn peak_memory_mib() -> Result<f64> {
    // On Linux, `getrusage` also counts the process that has started this one.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        return Ok(line.trim_end_matches("kB").trim().parse::<f64>()? / 1024.0);
    }
    // On macOS it counts bytes.
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(usage.max_rss() as f64 / 1024.0 / 1024.0)
}
