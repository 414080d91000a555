//! pgbench as a yardstick: the same transfer, without a Rust driver.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crdb_connection::DatabaseUrl;

use crate::figures::{Measured, OneWorker, RoundTrips};
use crate::round_trips::Relayed;
use crate::slot::Slot;

/// The statements and messages of the postgres sample: `\;` sends two statements in one message.
/// The accounts are not used by other contestants.
const SCRIPT: &str = r"BEGIN ISOLATION LEVEL SERIALIZABLE \; SAVEPOINT cockroach_restart;
SELECT id, balance FROM accounts WHERE id IN (17, 18) ORDER BY id FOR UPDATE;
UPDATE accounts SET balance = balance - 1 WHERE id = 17;
UPDATE accounts SET balance = balance + 1 WHERE id = 18;
RELEASE SAVEPOINT cockroach_restart \; COMMIT;
";

/// pgbench, and what it has measured so far.
pub struct Pgbench {
    url: DatabaseUrl,
    round_trips: Option<RoundTrips>,
    connects_ms: Vec<f64>,
    slots: Vec<Slot>,
    left_out: Option<String>,
}

impl Pgbench {
    /// Looks for pgbench on `PATH`. Without it every measurement is skipped.
    pub fn find(url: &DatabaseUrl) -> Pgbench {
        let missing = Command::new("pgbench").arg("--version").output().is_err();
        Pgbench {
            url: url.clone(),
            round_trips: None,
            connects_ms: Vec::new(),
            slots: Vec::new(),
            left_out: missing.then(|| "pgbench: it is not installed".to_owned()),
        }
    }

    /// Counts the round trips of a transfer.
    pub fn count_round_trips(&mut self, relayed: &Relayed) {
        self.attempt(|pgbench| {
            // Both runs connect; the longer one makes ten transfers more.
            let (_, one) = relayed.count(|| run(&relayed.url, &["-t", "1"]))?;
            let (_, eleven) = relayed.count(|| run(&relayed.url, &["-t", "11"]))?;
            pgbench.round_trips = Some(RoundTrips {
                connect: None,
                transfer_first: None,
                // Rounded, because connecting may take a round trip more or less.
                transfer_steady: (eleven.saturating_sub(one) + 5) / 10,
            });
            Ok(())
        });
    }

    /// Transfers for this time, rounded up to whole seconds, which is pgbench's unit.
    pub fn measure_slot(&mut self, length: Duration) {
        self.attempt(|pgbench| {
            let seconds = length.as_secs_f64().ceil().to_string();
            let (connect_ms, slot) = run(&pgbench.url, &["-T", &seconds])?;
            ensure!(slot.transfers() > 0, "too few transfers in {seconds} s");
            pgbench.connects_ms.push(connect_ms);
            pgbench.slots.push(slot);
            Ok(())
        });
    }

    /// A failure of pgbench must not end the comparison: from then on it is left out.
    fn attempt(&mut self, step: impl FnOnce(&mut Pgbench) -> Result<()>) {
        if self.left_out.is_some() {
            return;
        }
        if let Err(error) = step(self) {
            self.left_out = Some(format!("pgbench: it failed: {error:#}"));
        }
    }

    /// Returns the figures, or the reason why there are none.
    pub fn figures(self) -> Result<Measured, String> {
        if let Some(reason) = self.left_out {
            return Err(reason);
        }
        Ok(Measured {
            round_trips: self.round_trips,
            // libpq shares nothing between connections: each costs the same.
            one_worker: Some(OneWorker::of(
                [self.connects_ms.clone(), self.connects_ms],
                &self.slots,
            )),
            name: "pgbench".to_owned(),
            ..Measured::default()
        })
    }
}

/// Runs pgbench with one worker. Returns the milliseconds to connect, and the transfers.
fn run(url: &DatabaseUrl, limit: &[&str]) -> Result<(f64, Slot)> {
    // The command line is visible to other users.
    let (text, password) = (url.with("password", "")?.for_libpq(), url.get("password"));
    // pgbench writes its log, a line per transaction, into its working directory.
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("transfer.sql"), SCRIPT)?;
    let output = Command::new("pgbench")
        .args(["-n", "-c", "1", "-f", "transfer.sql"])
        .args(["-l", "--log-prefix=times"])
        .args(limit)
        .arg(text)
        .env("PGPASSWORD", password)
        .current_dir(directory.path())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let connected = text.lines().find_map(|line| {
        let ms = line.strip_prefix("initial connection time = ")?;
        ms.strip_suffix(" ms")?.parse().ok()
    });
    let (true, Some(connect_ms)) = (output.status.success(), connected) else {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.lines().last().unwrap_or("no figures"));
    };
    Ok((connect_ms, Slot::of(&latencies_us(directory.path())?)?))
}

/// Reads the latencies from pgbench's log. The times in the log are too short on a busy machine:
/// pgbench does not look at the clock again if an answer is already there. But it does at the start
/// of each transaction, so the latency is the time from one start to the next.
fn latencies_us(directory: &Path) -> Result<Vec<u64>> {
    let mut files = fs::read_dir(directory)?.flatten();
    let log = files.find(|file| file.file_name().to_string_lossy().starts_with("times."));
    let log = fs::read_to_string(log.context("there is no log")?.path())?;
    let starts: Option<Vec<u64>> = log.lines().map(start_us).collect();
    let starts = starts.context("a line of the log has no time")?;
    let pairs = starts.windows(2);
    Ok(pairs.map(|pair| pair[1].saturating_sub(pair[0])).collect())
}

/// Returns when a transaction began. Its line in the log is `client_id transaction_no time
/// script_no time_epoch time_us`: the microseconds that it took, and when it ended.
fn start_us(line: &str) -> Option<u64> {
    let fields: Option<Vec<u64>> = line.split(' ').take(6).map(|n| n.parse().ok()).collect();
    let [_, _, took_us, _, end_s, end_us] = fields?[..] else {
        return None;
    };
    (end_s * 1_000_000 + end_us).checked_sub(took_us)
}
