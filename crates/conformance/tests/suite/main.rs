//! The tests of all drivers, samples and documents. They are one test binary and share servers.

mod bank;
mod cancellation;
mod connecting;
mod dependencies;
mod documents;
mod endings;
mod failover;
mod fake_server;
mod markdown;
mod mistakes;
mod node_loss;
mod outcomes;
mod pages;
mod recipes;
mod retries;
mod round_trips;
mod same_code;
mod samples;
mod service;
mod test_database;
mod tls;
mod workers;
