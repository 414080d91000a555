//! Measures the drivers side by side and writes a report. `--help` lists the options.
//!
//! cargo run --release --example compare

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use crdb_compare::contestant::{Contestant, contestants};
use crdb_compare::figures::{Figures, Measured};
use crdb_compare::options::Options;
use crdb_compare::pgbench::Pgbench;
use crdb_compare::progress::Progress;
use crdb_compare::relayed::Relayed;
use crdb_compare::schema::Schema;
use crdb_compare::stop::{self, Stopped};
use crdb_compare::{cost, measure, report, tables};
use crdb_connection::Config;

fn main() -> Result<ExitCode> {
    match compare(&Options::parse()) {
        Err(error) if error.is::<Stopped>() => {
            eprintln!("Stopped.");
            Ok(ExitCode::from(130))
        }
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn compare(options: &Options) -> Result<()> {
    stop::listen()?;
    // A path that cannot be written must fail before the minutes of measuring, not after.
    check_writable(&options.report)?;
    if let Some(path) = &options.json {
        check_writable(path)?;
    }
    let schema = Schema::create(&Config::from_env()?)?;
    let figures = measure_all(&schema, options)?;
    schema.drop()?;

    for table in tables::tables(&figures) {
        println!("{}", tables::draw(&table));
    }
    for reason in &figures.left_out {
        println!("Left out: {reason}");
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    fs::write(&options.report, report::render(&figures)?)?;
    println!("Report: {}", options.report.display());
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

fn measure_all(schema: &Schema, options: &Options) -> Result<Figures> {
    let all = contestants(&options.drivers);
    // All take turns with one worker, pgbench included, and all but pgbench under contention.
    let turns = (2 * all.len() + 1) * options.rounds();
    let progress = Progress::new(options.turn() * turns as u32 + Duration::from_secs(8));
    let mut measured: Vec<Measured> = all.iter().map(|one| Measured::named(one.name)).collect();
    let mut pgbench = Pgbench::find(&schema.config);
    let mut left_out = Vec::new();

    if let Some(relayed) = Relayed::start(&schema.config)? {
        measure_network(
            &all,
            &mut measured,
            &mut pgbench,
            &relayed,
            options,
            &progress,
        )?;
    } else {
        left_out.push("round trips and distance: the server is not on this machine".to_owned());
    }
    let figures = measure::one_worker(&all, &mut pgbench, &schema.config, options, &progress)?;
    for (measured, figures) in measured.iter_mut().zip(figures) {
        measured.one_worker = Some(figures);
    }
    let figures = measure::contention(&all, &schema.config, options, &progress)?;
    let balances_conserved = schema.is_conserved()?;
    for (measured, mut figures) in measured.iter_mut().zip(figures) {
        figures.balances_conserved = balances_conserved;
        measured.contention = Some(figures);
    }
    for measured in &mut measured {
        if options.drivers.contains(&measured.name) {
            progress.begin("cost", &measured.name)?;
            measured.cost = Some(cost::of(&measured.name, options.build)?);
        }
    }
    match pgbench.figures() {
        Ok(figures) => measured.push(figures),
        Err(reason) => left_out.push(reason),
    }
    let hosts: Vec<String> = schema
        .config
        .hosts
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Figures {
        server: schema.server.clone(),
        host: hosts.join(","),
        machine: machine(),
        versions: cost::versions()?,
        rounds: options.rounds(),
        workers: options.workers,
        left_out,
        contestants: measured,
    })
}

/// Describes the client. Figures of a debug build are no figures of the drivers.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let build = if cfg!(debug_assertions) {
        ", debug build"
    } else {
        ""
    };
    format!("{os} {arch}, {cores} cores{build}")
}

/// Counts round trips and measures over distance: what needs a relay in front of the server.
fn measure_network(
    all: &[Contestant],
    measured: &mut [Measured],
    pgbench: &mut Pgbench,
    relayed: &Relayed,
    options: &Options,
    progress: &Progress,
) -> Result<()> {
    for (contestant, measured) in all.iter().zip(measured.iter_mut()) {
        progress.begin("round trips", contestant.name)?;
        measured.round_trips = Some((contestant.count_round_trips)(relayed)?);
    }
    progress.begin("round trips", "pgbench")?;
    pgbench.count_round_trips(relayed);
    let distances = measure::distance(all, relayed, options, progress)?;
    for (measured, figures) in measured.iter_mut().zip(distances) {
        measured.distance = figures;
    }
    Ok(())
}
