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

/// A progress bar on a terminal, plain lines elsewhere; both on standard error.
pub struct Progress {
    /// Hidden if standard error is not a terminal. It disappears with this value.
    bar: ProgressBar,
    last: String,
}

impl Progress {
    /// Returns the progress of a run that takes about this long.
    pub fn new(about: Duration) -> Progress {
        let bar = ProgressBar::new(about.as_millis() as u64);
        let style = ProgressStyle::with_template("{bar:30} {eta} left  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress {
            bar,
            last: String::new(),
        }
    }

    /// Shows what is measured next. Returns an error after Ctrl-C.
    pub fn begin(&mut self, part: &str, detail: &str) -> Result<(), Stopped> {
        check_stopped()?;
        self.bar.set_message(format!("{part}: {detail}"));
        if self.bar.is_hidden() && self.last != part {
            // The run continues even if the output goes to `head`.
            let _ = writeln!(io::stderr(), "measuring {part}…");
            part.clone_into(&mut self.last);
        }
        Ok(())
    }

    /// Advances the bar by a step that took about this long.
    pub fn done(&self, took: Duration) {
        self.bar.inc(took.as_millis() as u64);
    }
}
