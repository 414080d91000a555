//! `local-cluster start | stop | url`: a throwaway cluster to try the samples on.

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

mod keeper;
mod state;

use state::State;

const USAGE: &str = "\
Usage: scripts/local-cluster start | stop | url

  start  start a secure cluster on this machine, print its DATABASE_URL and, where there
         is no .env, write it there
  stop   stop it and remove what start made
  url    print its DATABASE_URL and nothing else

It is CockroachDB where $COCKROACH names a binary or PATH has one, else PostgreSQL.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["start"] => start(),
        ["stop"] => stop(),
        ["url"] => url(),
        // What `start` leaves running.
        ["keep"] => keeper::keep(),
        ["--help" | "-h" | "help"] => {
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
            "A local cluster is running already.\nDATABASE_URL={}",
            state.url
        );
        return Ok(());
    }
    State::forget()?;
    let mut keeper = Command::new(env::current_exe()?)
        .arg("keep")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the cluster's keeper")?;
    // The keeper closes its output when the cluster answers; until then it tells what went wrong.
    let mut problem = String::new();
    keeper
        .stdout
        .take()
        .context("no output")?
        .read_to_string(&mut problem)?;
    if !problem.is_empty() {
        bail!("{}", problem.trim_end());
    }
    let mut state = State::read()?.context("the cluster ended as soon as it had started")?;
    println!("DATABASE_URL={}", state.url);
    if state.write_dotenv()? {
        println!("Written to .env. Try: cargo run --example postgres-basic");
    } else {
        println!("There is a .env already, and it is left as it is. To use this cluster:");
        println!("export DATABASE_URL=\"$(scripts/local-cluster url)\"");
    }
    Ok(())
}

fn stop() -> Result<()> {
    let Some((state, mut keeper)) = running()? else {
        println!("No local cluster is running.");
        return State::forget();
    };
    keeper.write_all(keeper::STOP)?;
    // The keeper hangs up when the server has stopped.
    keeper.read_to_end(&mut Vec::new())?;
    if state.remove_dotenv()? {
        println!("Removed .env.");
    }
    State::forget()?;
    println!("The local cluster has stopped.");
    Ok(())
}

fn url() -> Result<()> {
    match running()? {
        Some((state, _)) => println!("{}", state.url),
        None => bail!("no local cluster is running; start one with scripts/local-cluster start"),
    }
    Ok(())
}

/// The cluster that `start` left running, with a connection to its keeper.
fn running() -> Result<Option<(State, UnixStream)>> {
    let Some(state) = State::read()? else {
        return Ok(None);
    };
    Ok(UnixStream::connect(&state.control)
        .ok()
        .map(|keeper| (state, keeper)))
}
