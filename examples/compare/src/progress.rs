//! The progress of a run, until it ends or Ctrl-C stops it.

use std::cell::RefCell;
use std::io::{IsTerminal, stderr};
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
    bar: Option<ProgressBar>,
    last: RefCell<String>,
}

impl Progress {
    /// Returns the progress of a run that takes about this long.
    pub fn new(about: Duration) -> Progress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(about.as_millis() as u64);
            let style = ProgressStyle::with_template("{bar:30} {eta} left  {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress {
            bar,
            last: RefCell::default(),
        }
    }

    /// Shows what is measured next. Returns an error after Ctrl-C.
    pub fn begin(&self, part: &str, detail: &str) -> Result<(), Stopped> {
        check_stopped()?;
        match &self.bar {
            Some(bar) => bar.set_message(format!("{part}: {detail}")),
            None if *self.last.borrow() != part => eprintln!("measuring {part}…"),
            None => {}
        }
        part.clone_into(&mut self.last.borrow_mut());
        Ok(())
    }

    /// Advances the bar by a step that took about this long.
    pub fn done(&self, took: Duration) {
        if let Some(bar) = &self.bar {
            bar.inc(took.as_millis() as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
