//! What `run_transaction` promises, held by all three drivers to the same tests.

mod bank;
mod outcomes;
mod retries;
mod round_trips;
mod world;
