//! A yardstick from elsewhere: the same transfer by pgbench, where it is installed.

use std::io::Write;
use std::process::Command;

use anyhow::{Result, bail};
use crdb_connection::Config;

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
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(SCRIPT.as_bytes())?;
    let seconds = (options.turn() * options.rounds() as u32).as_secs().max(1);
    let mut pgbench = Command::new("pgbench");
    pgbench
        .args(["-n", "-c", "1", "-T", &seconds.to_string(), "-f"])
        .arg(script.path());
    // The connection string holds the password: it goes in by the environment, not by the command line.
    for (name, value) in variables(config) {
        pgbench.env(name, value);
    }
    let output = pgbench.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(label))?;
        line.split_once('=')?
            .1
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let (Some(latency), Some(tps)) = (number("latency average"), number("tps")) else {
        bail!(
            "pgbench: {}",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or_default()
        );
    };
    Ok(Some(Measured {
        name: "pgbench".to_owned(),
        one_worker: Some(OneWorker {
            connect_ms: number("initial connection time").unwrap_or_default(),
            transfers_per_second: tps,
            p50_ms: latency, // pgbench tells the mean only
            p95_ms: None,
            p99_ms: None,
            max_ms: None,
        }),
        ..Measured::default()
    }))
}

fn variables(config: &Config) -> Vec<(&'static str, String)> {
    let join = |parts: Vec<String>| parts.join(",");
    let root = config.sslrootcert.as_ref().map(|root| match root {
        crdb_connection::RootCert::File(path) => path.display().to_string(),
        crdb_connection::RootCert::System => "system".to_owned(),
    });
    let path = |path: &std::path::PathBuf| path.display().to_string();
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
        ("PGSSLCERT", config.sslcert.as_ref().map(path)),
        ("PGSSLKEY", config.sslkey.as_ref().map(path)),
        ("PGOPTIONS", config.options.clone()),
    ];
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
