//! A server process that ends with the program that started it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::RunAs;

/// The shell script that starts the server and prints its process id. At the first line of standard
/// input it stops the server. At the end of standard input, which comes when this program closes
/// the pipe or is killed, it removes the directory, unless a line was `keep`.
const SUPERVISOR: &str = r#"
signal=$1 directory=$2
shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
echo $server
(
    read -r line <&3
    kill -s "$signal" $server
    tries=0
    while kill -0 $server; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries = 200 ] && kill -s KILL $server
    done
    grep -q keep <&3 || rm -rf "$directory"
) >/dev/null 2>&1 &
exec >/dev/null
wait $server
"#;

/// A server process with its supervisor. Dropping it stops the server.
pub(crate) struct ServerProcess {
    supervisor: Child,
    /// The supervisor's standard input.
    input: ChildStdin,
    /// The process id of the server, not of the supervisor.
    pub(crate) pid: i32,
}

impl ServerProcess {
    /// Starts `server` and waits until `is_ready` returns true. `signal` asks the server for an
    /// orderly shutdown.
    ///
    /// If this program is killed, `directory` is removed.
    pub(crate) fn start(
        server: &Command,
        run_as: RunAs,
        signal: &str,
        directory: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<ServerProcess> {
        let mut supervisor = run_as
            .command("/bin/sh")
            .args(["-c", SUPERVISOR, "sh", signal])
            .arg(directory)
            .arg(server.get_program())
            .args(server.get_args())
            // With a process group of its own the server gets no SIGINT from Ctrl-C: the supervisor
            // stops it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start /bin/sh")?;
        let input = supervisor.stdin.take().context("no input")?;
        let mut pid = String::new();
        BufReader::new(supervisor.stdout.take().context("no output")?).read_line(&mut pid)?;
        let mut process = ServerProcess {
            supervisor,
            input,
            pid: pid.trim().parse().context("the server did not start")?,
        };

        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_ready() {
            if process.supervisor.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the server did not start; its log ends with:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(process)
    }

    /// Stops the server and waits until it has ended. Until this value is dropped, the directory is
    /// still removed if this program is killed.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.input.write_all(b"stop\n")?;
        self.supervisor.wait()?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.stop();
        // The directory belongs to the cluster, which may restart its server in it.
        let _ = self.input.write_all(b"keep\n");
    }
}
