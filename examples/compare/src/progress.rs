//! The progress of a run.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::stop::{self, Stopped};

/// A progress bar on a terminal, plain lines elsewhere; both on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    last: std::cell::RefCell<String>,
}

impl Progress {
    /// Returns the progress of a run that takes about this long.
    pub fn new(about: Duration) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(about.as_millis() as u64);
            let style = ProgressStyle::with_template("{bar:30} {eta} left  {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress {
            bar,
            last: Default::default(),
        }
    }

    /// Shows what is measured next.
    ///
    /// # Errors
    ///
    /// Returns an error after Ctrl-C.
    pub fn begin(&self, part: &str, detail: &str) -> Result<(), Stopped> {
        stop::check()?;
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
