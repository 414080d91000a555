//! The tests of all drivers, samples and documents. They are one test binary and share servers.

mod bank;
mod connecting;
mod dependencies;
mod documents;
mod fake_server;
mod markdown;
mod mistakes;
mod outcomes;
mod pages;
mod pools;
mod recipes;
mod retries;
mod round_trips;
mod samples;
mod service;
mod test_database;
mod tls;
