//! One face for the three drivers. Behind it is the code of the samples: their `connect`, their
//! `run_transaction` and the `transfer_funds` of their transfer.rs.

#![warn(missing_docs)]

mod diesel;
mod postgres;
pub mod sample;
mod sea_orm;

use std::error::Error;
use std::time::Duration;

use crdb_connection::{Config, ConnectError};

pub use diesel::Diesel;
pub use postgres::Postgres;
pub use sea_orm::SeaOrm;

/// An error of whichever driver.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// A connection of one of the three drivers.
pub trait Driver: Sized + Send + 'static {
    /// As it is spelled in a sample's name.
    const NAME: &'static str;

    /// The sample's `connect`.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn connect(config: &Config) -> Result<Self, ConnectError>;

    /// What the basic sample does: writes its two accounts and reads them back.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn basic(&mut self) -> Result<(), AnyError>;

    /// The sample's `run_transaction` around the sample's `transfer_funds`. Returns how often it ran.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn transfer(&mut self, from: i64, to: i64, amount: i64) -> Result<u32, Failed> {
        self.transfer_after(&mut |_, _| {}, from, to, amount)
    }

    /// As [`Driver::transfer`], with something done at the beginning of each run, counted from 1.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn transfer_after(
        &mut self,
        first: First,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<u32, Failed>;

    /// As [`Driver::transfer`], with this number written into the table `ledger` in the same transaction.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn transfer_with_entry(&mut self, entry: i64, from: i64, to: i64) -> Result<(), Failed>;

    /// The sample's `run_transaction_with` around this.
    ///
    /// # Errors
    ///
    /// Those of the sample's.
    fn transact<E>(
        &mut self,
        pauses: Vec<Duration>,
        op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), Failed>
    where
        E: Error + Send + Sync + 'static;

    /// The sample's default pauses before retries.
    fn default_pauses() -> Vec<Duration>;
}

/// What [`Driver::transfer_after`] does first.
pub type First<'a> = &'a mut dyn FnMut(u32, &mut dyn Sql);

/// What a transaction can do with SQL text.
pub trait Sql {
    /// Runs a statement.
    ///
    /// # Errors
    ///
    /// The driver's own.
    fn execute(&mut self, sql: &str) -> Result<(), AnyError>;

    /// Reads the column `value`, of type INT8.
    ///
    /// # Errors
    ///
    /// The driver's own.
    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError>;
}

/// The samples' `TransactionError`, whichever driver's.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// `TransactionError::Operation`, with what `op` returned.
    #[error(transparent)]
    Operation(AnyError),
    /// `TransactionError::Database`.
    #[error("{0}")]
    Database(AnyError),
    /// `TransactionError::RetriesExhausted`.
    #[error("given up after {retries} retries: {last}")]
    RetriesExhausted {
        /// How often it was run again.
        retries: usize,
        /// The last error.
        last: AnyError,
    },
    /// `TransactionError::AmbiguousCommit`.
    #[error("ambiguous: {0}")]
    AmbiguousCommit(AnyError),
}

/// The three drivers' error types are parallel, and so is their conversion.
macro_rules! failed_from {
    ($($package:ident),+) => {$(
        impl<E: Error + Send + Sync + 'static> From<$package::TransactionError<E>> for Failed {
            fn from(error: $package::TransactionError<E>) -> Failed {
                use $package::TransactionError as Of;
                match error {
                    Of::Operation(error) => Failed::Operation(error.into()),
                    Of::RetriesExhausted(retries, last) => Failed::RetriesExhausted { retries, last },
                    Of::AmbiguousCommit(error) => Failed::AmbiguousCommit(error.into()),
                    Of::Database(error) => Failed::Database(error.into()),
                }
            }
        }
    )+};
}
failed_from!(crdb_postgres, crdb_diesel, crdb_sea_orm);
