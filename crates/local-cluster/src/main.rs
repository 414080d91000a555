//! Starts and stops a throwaway cluster to run the samples on, and kills and restarts its nodes.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use crdb_local_cluster::Kind;

mod daemon;
mod state;

use state::State;

const NONE_RUNS: &str = "no local cluster is running; scripts/local-cluster start starts one";

const USAGE: &str = "\
Usage: scripts/local-cluster start [--nodes 3] | stop | url | kill N | restart N

  start      start a secure cluster on this machine, print its DATABASE_URL, and write it to
             .env unless that file exists; with --nodes 3, start three nodes of CockroachDB
  stop       stop the cluster and remove the files that start wrote
  url        print the cluster's DATABASE_URL and nothing else
  kill N     kill node N of CockroachDB with SIGKILL
  restart N  start node N again

The cluster runs CockroachDB if there is a binary, else PostgreSQL. The binary is the one that
COCKROACH names, else the one on PATH, else the one that scripts/setup --cockroach downloaded.";

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
        ["start"] => start(None),
        ["start", "--nodes", nodes] => number(nodes).and_then(|nodes| start(Some(nodes))),
        ["stop"] => stop(),
        ["url"] => url(),
        ["kill", node] => number(node).and_then(|node| send("kill", node, "was killed")),
        ["restart", node] => number(node).and_then(|node| send("restart", node, "runs again")),
        // Internal: scripts/test prints the servers that the tests run on.
        ["servers"] => servers(),
        // Internal: `start` runs this in the background.
        ["daemon"] => daemon::run(None),
        ["daemon", nodes] => number(nodes).and_then(|nodes| daemon::run(Some(nodes))),
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

fn number(argument: &str) -> Result<usize> {
    let number = argument.parse();
    number.with_context(|| format!("{argument} is not a number of nodes or of a node"))
}

fn start(nodes: Option<usize>) -> Result<()> {
    if let Some((state, _)) = running()? {
        let running = format!(
            "A local cluster is already running: {}.\nDATABASE_URL='{}'\n\
             To start another one, stop it first: scripts/local-cluster stop",
            state.server, state.url
        );
        if nodes.is_some_and(|nodes| nodes != state.nodes()) {
            bail!(running);
        }
        return say(&running);
    }
    State::remove()?;
    if nodes == Some(3) {
        let _ = writeln!(
            io::stderr(),
            "Starting three nodes; it takes about a minute until each range is on all of them."
        );
    }
    let mut daemon = Command::new("bash")
        .args(["-c", WITHOUT_DESCRIPTORS])
        .arg(env::current_exe()?)
        .arg("daemon")
        .args(nodes.map(|nodes| nodes.to_string()))
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
        // Another `start` may have started a cluster meanwhile.
        if running()?.is_none() {
            State::remove()?;
        }
        bail!("{}", printed.trim_end());
    }
    let state = State::read()?.context("the cluster stopped right after it had started")?;
    let next = if state.write_dotenv()? {
        "Written to .env. Try: cargo run --example postgres-basic"
    } else {
        "Your .env exists and was not changed. To use this cluster:\n\
         export DATABASE_URL=\"$(scripts/local-cluster url)\""
    };
    say(&format!(
        "Started {}.\nDATABASE_URL='{}'\n{next}",
        state.server, state.url
    ))
}

fn stop() -> Result<()> {
    let result = match running()? {
        None => "No local cluster is running.",
        Some((_, mut connection)) => {
            connection.write_all(b"stop\n")?;
            // The daemon closes the connection when the server has stopped.
            connection.read_to_end(&mut Vec::new())?;
            "Stopped the local cluster."
        }
    };
    // The files are there even if the daemon was killed.
    if State::remove()? {
        say("Removed .env.")?;
    }
    say(result)
}

fn url() -> Result<()> {
    say(&running()?.context(NONE_RUNS)?.0.url)
}

/// Sends a command for a node to the daemon.
fn send(command: &str, node: usize, done: &str) -> Result<()> {
    let (_, mut connection) = running()?.context(NONE_RUNS)?;
    writeln!(connection, "{command} {node}")?;
    let mut error = String::new();
    connection.read_to_string(&mut error)?;
    if !error.is_empty() {
        bail!("{error}");
    }
    say(&format!("Node {node} {done}."))
}

fn servers() -> Result<()> {
    let versions = Kind::available()?.into_iter().map(Kind::version);
    let versions: Vec<String> = versions.collect::<Result<_>>()?;
    say(&versions.join(" and "))
}

/// Returns the state of the running cluster and a connection to its daemon.
fn running() -> Result<Option<(State, UnixStream)>> {
    let Some(state) = State::read()? else {
        return Ok(None);
    };
    Ok(State::connect().map(|connection| (state, connection)))
}
