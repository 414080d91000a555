//! Measures the drivers' samples side by side and writes a report, for the example `compare`.
//!
//! # Layout
//!
//! - `contestant.rs`, `pgbench.rs`: what is compared, drivers and yardsticks.
//! - `schema.rs`, `server.rs`, `url.rs`: where it runs, and the connection strings for that.
//! - `round_trips.rs`, `measure.rs`, `slot.rs`: what is measured.
//! - `figures.rs`, `parts.rs`: the results, and their tables.
//! - `report.rs` with its template, `samples.rs`: the report with the samples' code.
//! - `options.rs`, `progress.rs`: the command line, the progress bar and Ctrl-C.

mod contestant;
mod figures;
mod measure;
mod options;
mod parts;
mod pgbench;
mod progress;
mod report;
mod round_trips;
mod samples;
mod schema;
mod server;
mod slot;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use crdb_connection::DatabaseUrl;

use crate::figures::Figures;
use crate::measure::Measurement;
use crate::options::Options;
use crate::pgbench::Pgbench;
use crate::progress::Stopped;
use crate::round_trips::Relayed;
use crate::schema::Schema;

/// Runs the comparison that the command line asks for.
///
/// # Errors
///
/// Returns an error if the server cannot be measured, or if a file cannot be written.
pub fn run() -> Result<ExitCode> {
    match compare(&Options::parse()) {
        Err(error) if error.is::<Stopped>() => {
            eprintln!("Stopped.");
            Ok(ExitCode::from(130))
        }
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn compare(options: &Options) -> Result<()> {
    progress::stop_on_ctrl_c()?;
    // A path that cannot be written must fail before the minutes of measuring, not after.
    for path in [&options.report].into_iter().chain(&options.json) {
        check_writable(path)?;
    }
    let schema = Schema::create(&DatabaseUrl::from_env()?, options.spread)?;
    let figures = measure(&schema, options)?;
    drop(schema);

    // The report is written even if the output goes to `head`.
    let _ = print(&figures);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    fs::write(&options.report, report::render(&figures)?)?;
    let _ = writeln!(io::stdout(), "Report: {}", options.report.display());
    Ok(())
}

fn print(figures: &Figures) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for part in parts::parts(figures) {
        writeln!(output, "{}", parts::table(&part, figures))?;
    }
    if let Some(ranges) = figures.ranges() {
        writeln!(output, "Ranges: {ranges}")?;
    }
    for reason in &figures.left_out {
        writeln!(output, "Left out: {reason}")?;
    }
    Ok(())
}

fn check_writable(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn measure(schema: &Schema, options: &Options) -> Result<Figures> {
    let mut measurement = Measurement::new(&schema.url, options);
    let mut pgbench = Pgbench::find(&schema.url);
    let mut left_out = Vec::new();
    if let Some(relayed) = Relayed::start(&schema.url)? {
        measurement.round_trips(&relayed, &mut pgbench)?;
        measurement.distance(&relayed)?;
    } else {
        left_out.push("round trips and distance: the server is not on this machine".to_owned());
    }
    measurement.one_worker(&mut pgbench)?;
    measurement.contention()?;
    ensure!(
        schema.is_conserved()?,
        "money was lost or created: the balances do not add up"
    );
    let mut contestants = measurement.figures();
    match pgbench.figures() {
        Ok(figures) => contestants.push(figures),
        Err(reason) => left_out.push(reason),
    }
    Ok(Figures {
        server: schema.server.clone(),
        host: schema.url.get("host"),
        machine: machine(),
        versions: samples::versions()?,
        rounds: options.rounds(),
        workers: options.workers,
        spread: options.spread,
        left_out,
        contestants,
    })
}

/// Describes the client. Figures of a debug build are no figures of the drivers.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let is_debug = cfg!(debug_assertions);
    let build = if is_debug { ", debug build" } else { "" };
    format!("{os} {arch}, {cores} cores{build}")
}
