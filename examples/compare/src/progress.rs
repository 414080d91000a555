//! What is being measured, and how long it still takes.

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
    /// For a run of about this long.
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

    /// Says what begins now.
    ///
    /// # Errors
    ///
    /// Ctrl-C was pressed.
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

    /// What was begun took about this long.
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
