//! pgbench as a yardstick: the same transfer, without a Rust driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crdb_connection::{Config, RootCert};

use crate::figures::{Measured, OneWorker, RoundTrips};
use crate::relayed::Relayed;
use crate::round_trips::Counter;
use crate::turn::{self, Turn};

/// The statements and messages of the postgres sample: `\;` sends two statements in one message.
/// The accounts are not used by other contestants.
const SCRIPT: &str = r"BEGIN ISOLATION LEVEL SERIALIZABLE \; SAVEPOINT cockroach_restart;
SELECT balance FROM accounts WHERE id = 17;
UPDATE accounts SET balance = balance - 1 WHERE id = 17;
UPDATE accounts SET balance = balance + 1 WHERE id = 18;
RELEASE SAVEPOINT cockroach_restart \; COMMIT;
";

/// pgbench, and what it has measured so far.
pub struct Pgbench {
    config: Config,
    round_trips: Option<RoundTrips>,
    connects_ms: Vec<f64>,
    turns: Vec<Turn>,
    left_out: Option<String>,
}

impl Pgbench {
    /// Looks for pgbench on `PATH`. Without it every turn is skipped.
    pub fn find(config: &Config) -> Pgbench {
        let missing = Command::new("pgbench").arg("--version").output().is_err();
        Pgbench {
            config: config.clone(),
            round_trips: None,
            connects_ms: Vec::new(),
            turns: Vec::new(),
            left_out: missing.then(|| "pgbench: it is not installed".to_owned()),
        }
    }

    /// Counts the round trips of a transfer.
    pub fn count_round_trips(&mut self, relayed: &Relayed) {
        self.attempt(|pgbench| {
            let mut counter = Counter::start(&relayed.relay);
            let mut count = |transfers: &str| -> Result<u64> {
                run(&relayed.config, &["-t", transfers])?;
                Ok(counter.count())
            };
            // Both runs connect; the longer one makes ten transfers more.
            let (one, eleven) = (count("1")?, count("11")?);
            pgbench.round_trips = Some(RoundTrips {
                connect: None,
                transfer_first: None,
                // Rounded, because connecting may take a round trip more or less.
                transfer_steady: (eleven.saturating_sub(one) + 5) / 10,
                transfer_retried_once: None,
            });
            Ok(())
        });
    }

    /// Transfers for this time, rounded up to whole seconds, which is pgbench's unit.
    pub fn take_turn(&mut self, length: Duration) {
        self.attempt(|pgbench| {
            let seconds = length.as_secs_f64().ceil().to_string();
            let (connect_ms, turn) = run(&pgbench.config, &["-T", &seconds])?;
            ensure!(turn.transfers() > 0, "too few transfers in {seconds} s");
            pgbench.connects_ms.push(connect_ms);
            pgbench.turns.push(turn);
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
    ///
    /// # Errors
    ///
    /// Returns the reason if pgbench is not installed or failed.
    pub fn figures(self) -> Result<Measured, String> {
        if let Some(reason) = self.left_out {
            return Err(reason);
        }
        let one_worker: OneWorker = turn::one_worker(&self.connects_ms, &self.turns);
        Ok(Measured {
            round_trips: self.round_trips,
            one_worker: Some(one_worker),
            ..Measured::named("pgbench")
        })
    }
}

/// Runs pgbench with one worker. Returns the milliseconds to connect, and the transfers.
fn run(config: &Config, limit: &[&str]) -> Result<(f64, Turn)> {
    // pgbench writes its log, a line per transaction, into its working directory.
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("transfer.sql"), SCRIPT)?;
    let output = Command::new("pgbench")
        .args(["-n", "-c", "1", "-f", "transfer.sql"])
        .args(["-l", "--log-prefix=times"])
        .args(limit)
        .current_dir(directory.path())
        // The command line is visible to other users, and the settings hold the password.
        .envs(variables(config))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(label))?;
        let (_, value) = line.split_once('=')?;
        value.split_whitespace().next()?.parse().ok()
    };
    let (true, Some(connect_ms), Some(per_second)) = (
        output.status.success(),
        number("initial connection time"),
        number("tps"),
    ) else {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.lines().last().unwrap_or("no figures"));
    };
    Ok((
        connect_ms,
        Turn::of(latencies_us(directory.path())?, per_second)?,
    ))
}

/// Reads the latencies from pgbench's log. The times in the log are too short on a busy machine:
/// pgbench does not look at the clock again if an answer is already there. But it does at the start
/// of each transaction, so the latency is the time from one start to the next.
fn latencies_us(directory: &Path) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("times.") {
            let log = fs::read_to_string(entry.path())?;
            let starts: Option<Vec<u64>> = log.lines().map(start_us).collect();
            let starts = starts.context("a line of the log has no time")?;
            latencies.extend(
                starts
                    .windows(2)
                    .map(|pair| pair[1].saturating_sub(pair[0])),
            );
        }
    }
    Ok(latencies)
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

/// Returns the settings as libpq's environment variables.
fn variables(config: &Config) -> Vec<(&'static str, String)> {
    // pgbench runs in another directory, so paths must be absolute.
    let path = |path: &PathBuf| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        path.display().to_string()
    };
    let root = config.sslrootcert.as_ref().map(|root| match root {
        RootCert::File(file) => path(file),
        RootCert::System => "system".to_owned(),
    });
    let password = config.password.as_ref();
    let names: Vec<String> = config.hosts.iter().map(|host| host.name.clone()).collect();
    let ports: Vec<String> = config
        .hosts
        .iter()
        .map(|host| host.port.to_string())
        .collect();
    let variables = [
        ("PGHOST", Some(names.join(","))),
        ("PGPORT", Some(ports.join(","))),
        ("PGUSER", Some(config.user.clone())),
        (
            "PGPASSWORD",
            password.map(|password| password.reveal().to_owned()),
        ),
        ("PGDATABASE", Some(config.dbname.clone())),
        ("PGSSLMODE", Some(config.sslmode.name().to_owned())),
        ("PGSSLROOTCERT", root),
        ("PGSSLCERT", config.sslcert.as_ref().map(path)),
        ("PGSSLKEY", config.sslkey.as_ref().map(path)),
        ("PGOPTIONS", config.options.clone()),
    ];
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
