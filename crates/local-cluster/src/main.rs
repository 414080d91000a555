//! Starts and stops a throwaway cluster to run the samples on, and kills and restarts its nodes.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use crdb_local_cluster::Kind;

mod daemon;
mod files;

const USAGE: &str = "\
Usage: scripts/local-cluster start [--nodes 3] | stop | url | kill N | restart N

  start      start a secure cluster on this machine, print its DATABASE_URL, and write it to
             .env unless that file exists; with --nodes 3, start three nodes of CockroachDB
  stop       stop the cluster and remove the files that start wrote
  url        print the cluster's DATABASE_URL and nothing else
  kill N     kill node N of CockroachDB with SIGKILL
  restart N  start node N again";

/// Runs a program without the descriptors that this one has inherited. Else the background process
/// would keep a pipe or a lock of the caller for as long as it runs.
const WITHOUT_DESCRIPTORS: &str = r#"
for descriptor in /dev/fd/*; do
    case ${descriptor##*/} in [012]) ;; *) eval "exec ${descriptor##*/}>&-" ;; esac
done
exec "$0" "$@""#;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|it| it.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let result = match arguments[..] {
        ["start"] | ["start", "--nodes", "3"] => start(&arguments),
        ["stop"] => stop(),
        ["url"] | ["kill" | "restart", _] => forward(&arguments.join(" ")),
        // Internal: scripts/test prints the servers that the tests run on.
        ["servers"] => servers(),
        // Internal: `start` runs this in the background.
        ["daemon", ref nodes @ ..] => daemon::run(!nodes.is_empty()),
        ["--help" | "-h" | "help"] => say(USAGE),
        _ => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints lines on standard output. Its reader, such as `head`, may have ended.
fn say(lines: &str) -> Result<()> {
    match writeln!(io::stdout(), "{lines}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn start(arguments: &[&str]) -> Result<()> {
    if let Some(running) = ask(&arguments.join(" "))? {
        return say(&running);
    }
    files::remove()?;
    let nodes = &arguments[1..];
    if !nodes.is_empty() {
        say("Starting three nodes; it takes about a minute until each range is on all of them.")?;
    }
    let mut daemon = Command::new("bash")
        .args(["-c", WITHOUT_DESCRIPTORS])
        .arg(env::current_exe()?)
        .arg("daemon")
        .args(nodes)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the background process of the cluster")?;
    let mut printed = Vec::new();
    for line in BufReader::new(daemon.stdout.take().context("no output")?).lines() {
        let line = line?;
        if line == daemon::READY {
            return say(&printed.join("\n"));
        }
        printed.push(line);
    }
    // Another `start` may have started a cluster meanwhile.
    if ask("url")?.is_none() {
        files::remove()?;
    }
    bail!("{}", printed.join("\n"))
}

fn stop() -> Result<()> {
    let stopped = ask("stop")?;
    // The files are there even if the daemon was killed.
    if files::remove()? {
        say("Removed .env.")?;
    }
    say(stopped.as_deref().unwrap_or("No local cluster is running."))
}

/// Sends a command to the daemon and prints its answer.
fn forward(command: &str) -> Result<()> {
    say(&ask(command)?
        .context("no local cluster is running; scripts/local-cluster start starts one")?)
}

fn servers() -> Result<()> {
    let versions = Kind::available()?.into_iter().map(Kind::version);
    let versions: Vec<String> = versions.collect::<Result<_>>()?;
    say(&versions.join(" and "))
}

/// Sends a command to the daemon and returns its answer, or `None` if there is no daemon.
fn ask(command: &str) -> Result<Option<String>> {
    let Ok(mut daemon) = UnixStream::connect(files::SOCKET) else {
        return Ok(None);
    };
    writeln!(daemon, "{command}")?;
    let mut answer = String::new();
    daemon.read_to_string(&mut answer)?;
    match answer.strip_prefix("Error: ") {
        Some(error) => bail!("{error}"),
        None => Ok(Some(answer)),
    }
}
