//! One interface to all drivers, and the tests that check that the drivers behave alike and that
//! the samples and the documents agree.
//!
//! # Layout
//!
//! - `driver.rs`: the trait [`Driver`]. Its methods call the samples' own code.
//! - `postgres.rs`, `tokio_postgres.rs`, `diesel.rs`, `sqlx.rs`, `sea_orm.rs`: its implementations.
//! - `blocking.rs`: what the blocking drivers have in common.
//! - `asynchronous.rs`: what the asynchronous drivers have in common: the trait [`Asynchronous`].
//! - [`sample`]: runs the built samples.
//! - `tests/suite`: the tests, one module for each subject.

#![warn(missing_docs)]

mod asynchronous;
mod blocking;
mod diesel;
mod driver;
mod postgres;
pub mod sample;
mod sea_orm;
mod sqlx;
mod tokio_postgres;

pub use asynchronous::Asynchronous;
pub use diesel::Diesel;
pub use driver::{AnyError, Driver, Sql, TransactionError};
pub use postgres::Postgres;
pub use sample::DRIVERS;
pub use sea_orm::SeaOrm;
pub use sqlx::Sqlx;
pub use tokio_postgres::TokioPostgres;
