//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// Handles Ctrl-C and SIGTERM: the comparison stops at its next step, so that it can drop its schema.
///
/// # Errors
///
/// Returns an error if these signals already have a handler.
pub fn listen() -> Result<()> {
    Ok(ctrlc::set_handler(|| {
        STOPPED.store(true, Ordering::Relaxed)
    })?)
}

/// Returns an error after Ctrl-C. Every step calls it.
///
/// # Errors
///
/// Returns an error if Ctrl-C was pressed.
pub fn check() -> Result<(), Stopped> {
    if STOPPED.load(Ordering::Relaxed) {
        Err(Stopped)
    } else {
        Ok(())
    }
}
