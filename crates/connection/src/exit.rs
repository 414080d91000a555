//! How a sample ends.

use std::process::ExitCode;

use crate::config::Config;
use crate::failure::{Failure, chain_text};

/// Ends a program as its user expects: status 0, or status 1 with one short message on stderr.
///
/// `fn main() -> anyhow::Result<()>` would print the error as `Debug` does, with a backtrace where
/// `RUST_BACKTRACE` is set.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("Error: {}", message(error.as_ref()));
    ExitCode::FAILURE
}

fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let text = chain_text(error);
    // CockroachDB lets us into a database that is not there, and fails at the first statement.
    match (Failure::of_text(&text), Config::from_env()) {
        (Failure::NoDatabase, Ok(config)) if !text.starts_with("could not connect") => {
            // What the server advises in further lines, ours says in terms of DATABASE_URL.
            let problem = text.lines().next().unwrap_or_default();
            format!("{problem}\n{}", Failure::NoDatabase.hint(&config))
        }
        _ => text,
    }
}
