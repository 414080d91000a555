//! A yardstick from elsewhere: the same transfer by pgbench, where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use crdb_connection::{Config, RootCert};
use hdrhistogram::Histogram;

use crate::figures::{Measured, OneWorker};
use crate::options::Options;

/// The same statements as the samples', in a SERIALIZABLE transaction; on another pair of accounts.
const SCRIPT: &str = "\
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT balance FROM accounts WHERE id = 17;
UPDATE accounts SET balance = balance - 1 WHERE id = 17;
UPDATE accounts SET balance = balance + 1 WHERE id = 18;
COMMIT;
";

/// Measures with one worker. `None` where pgbench is not installed.
///
/// # Errors
///
/// pgbench fails.
pub fn measure(config: &Config, options: &Options) -> Result<Option<Measured>> {
    if Command::new("pgbench").arg("--version").output().is_err() {
        return Ok(None);
    }
    // It writes its log, a line for each transaction, where it runs.
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("transfer.sql"), SCRIPT)?;
    let seconds = (options.turn() * options.rounds() as u32)
        .as_secs()
        .max(1)
        .to_string();
    let mut pgbench = Command::new("pgbench");
    pgbench.args([
        "-n",
        "-c",
        "1",
        "-T",
        &seconds,
        "-f",
        "transfer.sql",
        "-l",
        "--log-prefix=times",
    ]);
    // The connection string holds the password: it goes in by the environment, not by the command line.
    pgbench
        .current_dir(directory.path())
        .envs(variables(config));
    let output = pgbench.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| -> Option<f64> {
        let (_, value) = text
            .lines()
            .find(|line| line.starts_with(label))?
            .split_once('=')?;
        value.split_whitespace().next()?.parse().ok()
    };
    let (Some(connect_ms), Some(transfers_per_second)) =
        (number("initial connection time"), number("tps"))
    else {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("pgbench: {}", told.lines().last().unwrap_or_default());
    };
    let latencies = latencies(directory.path())?;
    let quantile_ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Some(Measured {
        name: "pgbench".to_owned(),
        one_worker: Some(OneWorker {
            connect_ms,
            transfers_per_second,
            p50_ms: quantile_ms(0.5),
            p95_ms: quantile_ms(0.95),
            p99_ms: quantile_ms(0.99),
            max_ms: latencies.max() as f64 / 1000.0,
        }),
        ..Measured::default()
    }))
}

/// The third field of each line of pgbench's log is the transaction's time in microseconds.
fn latencies(directory: &Path) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("times.") {
            for line in fs::read_to_string(entry.path())?.lines() {
                let time = line.split(' ').nth(2).and_then(|time| time.parse().ok());
                latencies.record(time.context("pgbench's log has a line without a time")?)?;
            }
        }
    }
    Ok(latencies)
}

fn variables(config: &Config) -> Vec<(&'static str, String)> {
    let join = |parts: Vec<String>| parts.join(",");
    // pgbench runs in a directory of its own.
    let path = |path: &PathBuf| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.clone())
            .display()
            .to_string()
    };
    let root = config.sslrootcert.as_ref().map(|root| match root {
        RootCert::File(file) => path(file),
        RootCert::System => "system".to_owned(),
    });
    let variables = [
        (
            "PGHOST",
            Some(join(
                config.hosts.iter().map(|host| host.name.clone()).collect(),
            )),
        ),
        (
            "PGPORT",
            Some(join(
                config
                    .hosts
                    .iter()
                    .map(|host| host.port.to_string())
                    .collect(),
            )),
        ),
        ("PGUSER", Some(config.user.clone())),
        (
            "PGPASSWORD",
            config
                .password
                .as_ref()
                .map(|password| password.reveal().to_owned()),
        ),
        ("PGDATABASE", Some(config.dbname.clone())),
        ("PGSSLMODE", Some(config.sslmode.name().to_owned())),
        ("PGSSLROOTCERT", root),
        ("PGSSLCERT", config.sslcert.as_ref().map(&path)),
        ("PGSSLKEY", config.sslkey.as_ref().map(&path)),
        ("PGOPTIONS", config.options.clone()),
    ];
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
