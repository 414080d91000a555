//! Measures the three drivers side by side and draws a report. `--help` tells more.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use crdb_compare::contestant::contestants;
use crdb_compare::figures::{Figures, Measured};
use crdb_compare::options::Options;
use crdb_compare::progress::Progress;
use crdb_compare::schema::Schema;
use crdb_compare::stop::{self, Stopped};
use crdb_compare::{cost, measure, pgbench, report, round_trips, tables};
use crdb_connection::Config;
use crdb_local_cluster::Relay;

fn main() -> ExitCode {
    let result = run(&Options::parse());
    if result.as_ref().is_err_and(|error| error.is::<Stopped>()) {
        eprintln!("Stopped.");
        return ExitCode::from(130);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    stop::listen()?;
    // Before minutes are spent: can the results be written?
    for path in [Some(&options.report), options.json.as_ref()]
        .into_iter()
        .flatten()
    {
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
    let names: Vec<&str> = options.drivers.iter().map(String::as_str).collect();
    let all = contestants(&names);
    let turns = 2 * all.len() * options.rounds();
    let progress = Progress::new(options.turn() * turns as u32 + Duration::from_secs(8));
    let mut left_out = Vec::new();
    let mut measured: Vec<Measured> = all
        .iter()
        .map(|one| Measured {
            name: one.name.to_owned(),
            ..Measured::default()
        })
        .collect();

    match relay(&schema.config)? {
        None => left_out
            .push("round trips and distance, because the server is not on this machine".to_owned()),
        Some((relay, relayed)) => {
            for measured in &mut measured {
                progress.begin("round trips", &measured.name)?;
                measured.round_trips =
                    round_trips::count(&measured.name, &schema.config, &relayed, &relay)?;
            }
            let distances = measure::distance(&all, &relayed, &relay, options, &progress)?;
            measured
                .iter_mut()
                .zip(distances)
                .for_each(|(measured, figures)| measured.distance = figures);
        }
    }
    let figures = measure::one_worker(&all, &schema.config, options, &progress)?;
    measured
        .iter_mut()
        .zip(figures)
        .for_each(|(measured, figures)| measured.one_worker = Some(figures));
    let figures = measure::contention(&all, &schema.config, options, &progress)?;
    let balances_conserved = schema.is_conserved()?;
    for (measured, mut figures) in measured.iter_mut().zip(figures) {
        figures.balances_conserved = balances_conserved;
        measured.contention = Some(figures);
    }
    progress.begin("pgbench", "one worker")?;
    match pgbench::measure(&schema.config, options) {
        Ok(Some(figures)) => measured.push(figures),
        Ok(None) => left_out.push("pgbench, because it is not installed".to_owned()),
        Err(error) => left_out.push(format!("pgbench, because it failed: {error}")),
    }
    for measured in measured
        .iter_mut()
        .filter(|measured| names.contains(&measured.name.as_str()))
    {
        progress.begin("cost", &measured.name)?;
        measured.cost = Some(cost::of(&measured.name, options.build)?);
    }
    Ok(Figures {
        server: schema.server.clone(),
        host: schema.config.hosts[0].to_string(),
        machine: format!(
            "{} {}, {} cores",
            std::env::consts::OS,
            std::env::consts::ARCH,
            std::thread::available_parallelism().map_or(0, usize::from)
        ),
        versions: cost::versions()?,
        rounds: options.rounds(),
        workers: options.workers,
        left_out,
        contestants: measured,
    })
}

/// A relay in front of the server, and the settings to connect through it; `None` if it is not on this
/// machine.
fn relay(config: &Config) -> Result<Option<(Relay, Config)>> {
    let here = ["localhost", "127.0.0.1"].contains(&config.hosts[0].name.as_str());
    if config.hosts.len() != 1 || !here {
        return Ok(None);
    }
    let relay = Relay::start(config.hosts[0].port)?;
    let mut relayed = config.clone();
    relayed.hosts[0].port = relay.port();
    Ok(Some((relay, relayed)))
}
