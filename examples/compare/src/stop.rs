//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Somebody pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// From now on Ctrl-C, and a polite kill, stop the measuring at its next step, so that it can clean up.
///
/// # Errors
///
/// Somebody else handles these signals.
pub fn listen() -> Result<()> {
    Ok(ctrlc::set_handler(|| {
        STOPPED.store(true, Ordering::Relaxed)
    })?)
}

/// Fails once Ctrl-C was pressed.
///
/// # Errors
///
/// [`Stopped`].
pub fn check() -> Result<(), Stopped> {
    match STOPPED.load(Ordering::Relaxed) {
        true => Err(Stopped),
        false => Ok(()),
    }
}
