//! The tests of all drivers, samples and documents. They are one test binary and share servers.

mod bank;
mod cancellation;
mod connecting;
mod dependencies;
mod documents;
mod failover;
mod markdown;
mod mistakes;
mod outcomes;
mod pages;
mod same_code;

mod retries;
mod round_trips;
mod samples;
mod tls;
mod world;
