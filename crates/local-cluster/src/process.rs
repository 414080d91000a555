//! A server process that ends with the program that started it.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::RunAs;

/// The shell script that starts the server, stops it, and removes the directory.
const SUPERVISOR: &str = include_str!("supervisor.sh");

/// A server process with its supervisor. Dropping it stops the server.
pub(crate) struct ServerProcess {
    supervisor: Child,
    /// The supervisor's standard input.
    input: ChildStdin,
    signal: &'static str,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `server`. `signal` stops it. Its output goes to the file `log` in `directory`.
    ///
    /// If this program is killed, `directory` is removed after its last server has ended.
    pub(crate) fn start(
        server: &Command,
        run_as: RunAs,
        signal: &'static str,
        directory: &Path,
        log: &str,
    ) -> Result<ServerProcess> {
        let mut supervisor = run_as
            .command("/bin/sh")
            .args(["-c", SUPERVISOR, "sh", signal])
            .arg(directory)
            .arg(log)
            .arg(server.get_program())
            .args(server.get_args())
            // With a process group of its own the server gets no SIGINT from Ctrl-C: the supervisor
            // stops it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(ServerProcess {
            input: supervisor.stdin.take().context("no input")?,
            supervisor,
            signal,
            log: directory.join(log),
        })
    }

    /// Waits until `is_ready` returns true.
    pub(crate) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_ready() {
            if !self.is_running() || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the server did not start; its log ends with:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// Stops the server and waits until it has ended. Until this value is dropped, the directory is
    /// still removed if this program is killed.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.stop_with(self.signal)
    }

    /// Stops the server with this signal.
    pub(crate) fn stop_with(&mut self, signal: &str) -> Result<()> {
        writeln!(self.input, "{signal}")?;
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
