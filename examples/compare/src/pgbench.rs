//! pgbench as a yardstick: the same transfer, without a Rust driver.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use crdb_connection::DatabaseUrl;

use crate::figures::Measured;
use crate::round_trips::Relayed;

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
    measured: Measured,
    left_out: Option<String>,
}

impl Pgbench {
    /// Looks for pgbench on `PATH`. Without it every measurement is skipped.
    pub fn find(url: &DatabaseUrl) -> Pgbench {
        let missing = Command::new("pgbench").arg("--version").output().is_err();
        Pgbench {
            url: url.clone(),
            measured: Measured {
                name: "pgbench".to_owned(),
                ..Measured::default()
            },
            left_out: missing.then(|| "pgbench: it is not installed".to_owned()),
        }
    }

    /// Counts the round trips of a transfer.
    pub fn count_round_trips(&mut self, relayed: &Relayed) {
        self.attempt(|pgbench| {
            // Both runs connect; the longer one makes ten transfers more.
            let (_, one) = relayed.count(|| run(&relayed.url, &["-t", "1"]))?;
            let (_, eleven) = relayed.count(|| run(&relayed.url, &["-t", "11"]))?;
            // Rounded, because connecting may take a round trip more or less.
            let further = (eleven.saturating_sub(one) + 5) / 10;
            pgbench.measured.add("round_trips.further", further as f64);
            Ok(())
        });
    }

    /// Transfers for this time, rounded up to whole seconds, which is pgbench's unit.
    pub fn measure_slot(&mut self, length: Duration) {
        self.attempt(|pgbench| {
            let seconds = length.as_secs_f64().ceil().to_string();
            let [connect_ms, per_second] = run(&pgbench.url, &["-T", &seconds])?;
            let measured = &mut pgbench.measured;
            measured.add("workers_1.connect_again_ms", connect_ms);
            measured.add("workers_1.transfers_per_second", per_second);
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
        self.left_out.map_or(Ok(self.measured), Err)
    }
}

/// Runs pgbench with one worker. Returns the milliseconds to connect, and the transfers per second.
fn run(url: &DatabaseUrl, limit: &[&str]) -> Result<[f64; 2]> {
    // The command line is visible to other users.
    let (text, password) = (url.with("password", "")?.for_libpq(), url.get("password"));
    let script = tempfile::NamedTempFile::new()?;
    fs::write(&script, SCRIPT)?;
    let output = Command::new("pgbench")
        .args(["-n", "-c", "1", "-f"])
        .arg(script.path())
        .args(limit)
        .arg(text)
        .env("PGPASSWORD", password)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| -> Option<f64> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.next()?.split(' ').next()?.parse().ok()
    };
    let figures = (number("initial connection time = "), number("tps = "));
    let (true, (Some(connect_ms), Some(per_second))) = (output.status.success(), figures) else {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.lines().last().unwrap_or("no figures"));
    };
    Ok([connect_ms, per_second])
}
