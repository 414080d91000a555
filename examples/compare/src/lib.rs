//! Measures the drivers' samples side by side and writes a report, for the example `compare`.
//!
//! # Layout
//!
//! - `contestant.rs`, `pgbench.rs`: what is compared, drivers and yardsticks.
//! - `schema.rs`, `server.rs`, `machine.rs`: where it runs.
//! - `measure.rs`, `round_trips.rs`, `client.rs`, `cost.rs`, `slot.rs`: what is measured.
//! - `figures.rs`, `parts.rs` with `parts.json`: the results, their tables, and the verdict.
//! - `report.rs` with its template, `samples.rs`: the report with the samples' code.
//! - `options.rs`, `progress.rs`: the command line, the progress bar and Ctrl-C.

mod client;
mod contestant;
mod cost;
mod figures;
mod machine;
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

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use crdb_connection::DatabaseUrl;

use crate::client::Job;
use crate::figures::Figures;
use crate::measure::Measurement;
use crate::options::Options;
use crate::parts::Part;
use crate::progress::Stopped;
use crate::round_trips::Relayed;
use crate::schema::Schema;

/// Runs the comparison that the command line asks for.
///
/// # Errors
///
/// Returns an error if the server cannot be measured, or if a file cannot be read or written.
pub fn run() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(job) = &options.job {
        serde_json::from_str::<Job>(job)?.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    match compare(&options) {
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
    let figures = match &options.from {
        Some(path) => read_figures(path)
            .map_err(|error| anyhow!("cannot draw {}: {error:#}", path.display()))?,
        None => measure(options)?,
    };
    let parts = parts::parts(&figures)?;
    // The report is written even if the output goes to `head`.
    let _ = print(&figures, &parts);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string(&figures)? + "\n")?;
    }
    fs::write(&options.report, report::render(&figures, &parts)?)?;
    let _ = writeln!(io::stdout(), "Report: {}", options.report.display());
    ensure!(
        figures.balances_conserved,
        "money was lost or created: the balances do not add up"
    );
    Ok(())
}

fn print(figures: &Figures, parts: &[Part]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for part in parts {
        writeln!(output, "{}", parts::table(part, figures))?;
    }
    for reason in &figures.left_out {
        writeln!(output, "Left out: {reason}")?;
    }
    if let Some(warning) = figures.warning() {
        writeln!(output, "Warning: {warning}")?;
    }
    Ok(())
}

fn read_figures(path: &Path) -> Result<Figures> {
    Figures::from_json(&fs::read_to_string(path)?)
}

fn check_writable(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let is_new = !path.exists();
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    if is_new {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn measure(options: &Options) -> Result<Figures> {
    let load_before = machine::load();
    let url = DatabaseUrl::from_env()?;
    let schema = Schema::create(&url, options.last_account())?;
    let mut measurement = Measurement::new(&schema, options);
    let mut left_out = Vec::new();
    let relayed = Relayed::start(&schema.url)?;
    match &relayed {
        Some(relayed) => measurement.round_trips(relayed)?,
        None => {
            left_out.push("round trips and distance: the server is not on localhost".to_owned());
        }
    }
    for _ in 0..options.rounds() {
        if let Some(relayed) = &relayed {
            measurement.distance(relayed)?;
        }
        measurement.round()?;
    }
    let load_after = machine::load();
    let balances_conserved = schema.is_conserved()?;
    // What is measured stays, also after Ctrl-C during a build.
    if let Err(error) = measurement.cost() {
        left_out.push(format!("what a driver costs to have: {error:#}"));
    }
    if !options.build {
        left_out
            .push("the time of a build and the size of the binary: they need --build".to_owned());
    }
    let (contestants, no_pgbench) = measurement.figures();
    left_out.extend(no_pgbench);
    Ok(Figures {
        format: figures::FORMAT,
        server: schema.server.clone(),
        host: schema.url.get("host"),
        machine: machine::describe(),
        load_before,
        load_after,
        versions: samples::versions()?,
        rounds: options.rounds(),
        workers: options.workers,
        balances_conserved,
        left_out,
        contestants,
    })
}
