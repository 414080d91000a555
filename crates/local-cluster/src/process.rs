//! A server process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server process. Dropping it stops the server.
///
/// The server is a child of this program, which alone waits for it. So its process id is its own
/// until this program knows that it has ended.
pub(crate) struct ServerProcess {
    child: Child,
    signal: Signal,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts a server. Its output goes to the file `log`. `signal` stops it.
    pub(crate) fn start(
        mut server: Command,
        log: PathBuf,
        signal: Signal,
    ) -> Result<ServerProcess> {
        let file = File::create(&log)?;
        let child = server
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", server.get_program().display()))?;
        Ok(ServerProcess { child, signal, log })
    }

    /// Waits until `is_ready` returns true, for at most 5 minutes.
    pub(crate) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(5);
        while !is_ready() {
            if !self.is_running() || Instant::now() > deadline {
                let log = fs::read(&self.log).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the server did not start; its log ends with:\n{end}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server, if it runs, and waits until it has ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.is_running() {
            let server = Pid::from_raw(self.child.id().cast_signed());
            kill(server, self.signal)?;
            // The signal also reaches a server that was stopped with SIGSTOP.
            kill(server, Signal::SIGCONT)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
