//! A server process that ends with the program that started it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::RunAs;

/// The shell script that starts the server and prints its process id. It reads two lines from
/// standard input. After the first line it stops the server; after the second line it removes the
/// directory, unless that line is `keep`. At the end of standard input it does both: the end comes
/// when this program closes the pipe or is killed.
const SUPERVISOR: &str = r#"
signal=$1 directory=$2
shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
echo $server
(
    read -r line <&3
    kill -s "$signal" $server 2>/dev/null
    tries=0
    while kill -0 $server 2>/dev/null; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries = 200 ] && kill -s KILL $server 2>/dev/null
    done
    line=
    read -r line <&3
    [ "$line" = keep ] || rm -rf "$directory"
) >/dev/null 2>&1 &
exec >/dev/null
wait $server
"#;

/// A server process with its supervisor. Dropping it stops the server and removes the directory.
pub(crate) struct ServerProcess {
    supervisor: Child,
    /// The supervisor's standard input; `None` once the directory belongs to another process.
    input: Option<ChildStdin>,
    directory: PathBuf,
    is_stopped: bool,
    /// The process id of the server, not of the supervisor.
    pub(crate) pid: i32,
}

impl ServerProcess {
    /// Starts `command`. `signal` asks it for an orderly shutdown.
    pub(crate) fn start(
        run_as: RunAs,
        signal: &str,
        directory: &Path,
        command: &[String],
    ) -> Result<ServerProcess> {
        let mut shell = run_as.command("/bin/sh");
        shell
            .arg("-c")
            .arg(SUPERVISOR)
            .arg("sh")
            .arg(signal)
            .arg(directory)
            .args(command);
        // With a process group of its own the server gets no SIGINT from Ctrl-C: the supervisor
        // stops it.
        shell
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut supervisor = shell.spawn().context("cannot start /bin/sh")?;
        let mut first_line = String::new();
        BufReader::new(supervisor.stdout.take().context("no output")?)
            .read_line(&mut first_line)?;
        let pid = first_line
            .trim()
            .parse()
            .context("the server did not start")?;
        let input = supervisor.stdin.take();
        Ok(ServerProcess {
            supervisor,
            input,
            directory: directory.to_owned(),
            is_stopped: false,
            pid,
        })
    }

    /// Waits until `is_ready` returns true, for at most a minute.
    pub(crate) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_ready() {
            if self.supervisor.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the server did not start; its log ends with:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops the server and waits until it has ended. The directory stays.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if !self.is_stopped {
            self.send("stop\n")?;
            self.supervisor.wait()?;
            self.is_stopped = true;
        }
        Ok(())
    }

    /// Leaves the directory to the next process. Call it after [`ServerProcess::stop`].
    pub(crate) fn keep_directory(&mut self) -> Result<()> {
        self.send("keep\n")?;
        self.input = None;
        Ok(())
    }

    fn send(&mut self, line: &str) -> Result<()> {
        if let Some(input) = &mut self.input {
            input.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let removes_directory = self.input.take().is_some();
        let _ = self.supervisor.wait();
        let deadline = Instant::now() + Duration::from_secs(15);
        while removes_directory && self.directory.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
