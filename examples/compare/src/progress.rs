//! The progress of a run, until it ends or Ctrl-C stops it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// Handles Ctrl-C and SIGTERM: the comparison stops at its next step, so that it can drop its
/// schema.
pub fn stop_on_ctrl_c() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed))
}

/// Returns an error after Ctrl-C.
pub fn check_stopped() -> Result<(), Stopped> {
    let stopped = STOPPED.load(Ordering::Relaxed);
    if stopped { Err(Stopped) } else { Ok(()) }
}

/// A progress bar on a terminal, a plain line elsewhere; both on standard error.
pub struct Progress {
    /// Hidden if standard error is not a terminal. It disappears with this value.
    bar: ProgressBar,
}

impl Progress {
    /// Returns the progress of a run with this number of rounds.
    pub fn new(rounds: usize) -> Progress {
        let bar = ProgressBar::new(rounds as u64);
        let style = ProgressStyle::with_template("{bar:30} {eta} left  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        if bar.is_hidden() {
            // The run continues even if the output goes to `head`.
            let _ = writeln!(io::stderr(), "measuring {rounds} rounds…");
        }
        Progress { bar }
    }

    /// Shows what is measured next. Returns an error after Ctrl-C.
    pub fn begin(&self, part: &str, detail: &str) -> Result<(), Stopped> {
        check_stopped()?;
        self.bar.set_message(format!("{part}: {detail}"));
        Ok(())
    }

    /// Ends a round.
    pub fn done(&self) {
        self.bar.inc(1);
    }
}
