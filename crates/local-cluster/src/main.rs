//! Starts and stops a throwaway cluster to run the samples on: `local-cluster start | stop | url`.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

mod daemon;
mod state;

use state::State;

const USAGE: &str = "\
Usage: scripts/local-cluster start | stop | url

  start  start a secure cluster on this machine, print its DATABASE_URL, and write it to
         .env unless that file exists
  stop   stop the cluster and remove the files that start wrote
  url    print the cluster's DATABASE_URL and nothing else

The cluster runs CockroachDB if COCKROACH or PATH has a binary, else PostgreSQL.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.join(" ").as_str() {
        "start" => start(),
        "stop" => stop(),
        "url" => url(),
        // Internal: `start` runs this in the background.
        "daemon" => daemon::run(),
        "--help" | "-h" | "help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    if let Some((state, _)) = running()? {
        println!(
            "A local cluster is already running.\nDATABASE_URL='{}'",
            state.url
        );
        return Ok(());
    }
    State::remove()?;
    let mut daemon = Command::new(env::current_exe()?)
        .arg("daemon")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the background process of the cluster")?;
    let mut output = BufReader::new(daemon.stdout.take().context("no output")?);
    let mut printed = String::new();
    output.read_line(&mut printed)?;
    if printed != daemon::READY {
        output.read_to_string(&mut printed)?;
        bail!("{}", printed.trim_end());
    }
    let state = State::read()?.context("the cluster stopped right after it had started")?;
    println!("DATABASE_URL='{}'", state.url);
    if state.write_dotenv()? {
        println!("Written to .env. Try: cargo run --example postgres-basic");
    } else {
        println!("Your .env exists and was not changed. To use this cluster:");
        println!("export DATABASE_URL=\"$(scripts/local-cluster url)\"");
    }
    Ok(())
}

fn stop() -> Result<()> {
    let result = match running()? {
        None => "No local cluster is running.",
        Some((_, mut connection)) => {
            connection.write_all(daemon::STOP)?;
            // The daemon closes the connection when the server has stopped.
            connection.read_to_end(&mut Vec::new())?;
            "Stopped the local cluster."
        }
    };
    // The files are there even if the daemon was killed.
    if State::remove()? {
        println!("Removed .env.");
    }
    println!("{result}");
    Ok(())
}

fn url() -> Result<()> {
    match running()? {
        Some((state, _)) => println!("{}", state.url),
        None => bail!("no local cluster is running; scripts/local-cluster start starts one"),
    }
    Ok(())
}

/// Returns the state of the running cluster and a connection to its daemon.
fn running() -> Result<Option<(State, UnixStream)>> {
    let Some(state) = State::read()? else {
        return Ok(None);
    };
    Ok(UnixStream::connect(&state.socket)
        .ok()
        .map(|connection| (state, connection)))
}
