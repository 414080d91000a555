//! The trait [`Driver`]: one interface to all drivers.

use std::error::Error;

use crdb_connection::{ConnectError, DatabaseUrl};

use crate::facts::Facts;

/// An error of any driver.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The runtime of an asynchronous driver. A blocking driver has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// tokio on one thread, as in the samples: `#[tokio::main(flavor = "current_thread")]`.
    One,
    /// tokio on a thread for each core, and transfers in a task, as in a service: `#[tokio::main]`.
    EachCore,
}

/// The account that pays, the account that receives, and the amount.
pub type Transfer = [i64; 3];

/// A connection (or pool) of one driver, with the samples' own functions. Each method returns the error
/// of the function that it calls.
pub trait Driver: Sized + Send + 'static {
    /// What differs between the drivers.
    const FACTS: Facts;

    /// Connects with the driver's `connect`, an asynchronous driver on this runtime.
    fn connect_on(threads: Threads, url: &DatabaseUrl) -> Result<Self, ConnectError>;

    /// Connects on a runtime with several threads, so that one serves the network while an `op` blocks.
    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
        Self::connect_on(Threads::EachCore, url)
    }

    /// Connects like [`Driver::connect_on`], with a pool of two open connections: while one returns to the
    /// pool, the next transfer uses the other one, and none is opened while transfers are measured.
    fn connect_worker(threads: Threads, url: &DatabaseUrl) -> Result<Self, AnyError> {
        Ok(Self::connect_on(threads, url)?)
    }

    /// Transfers 1 with `transfer_funds` in `run_transaction`, again and again until `each` returns
    /// false. `each` gets the number of runs of each transfer.
    fn transfer_while<S: Send + 'static>(
        &mut self,
        accounts: [i64; 2],
        state: S,
        each: fn(&mut S, u32) -> bool,
    ) -> Result<S, TransactionError>;

    /// Transfers 1. Returns the number of runs.
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32, TransactionError> {
        let once = |runs: &mut u32, number| {
            *runs = number;
            false
        };
        self.transfer_while([from, to], 0, once)
    }

    /// Transfers once for each request, by the recipe in `run_transaction`.
    fn transfer_once(&mut self, request: i64, transfer: Transfer) -> Result<(), TransactionError>;

    /// Inserts the rows of `customers` that do not exist yet, by the recipe.
    fn insert_customers(&mut self, customers: &[(i64, String)]) -> Result<(), AnyError>;

    /// Reads the rows of `customers` up to the id `last`, by the recipe.
    fn read_customers(&mut self, last: i64, each: impl FnMut(i64, String)) -> Result<(), AnyError>;

    /// Runs `op` with `run_transaction`.
    fn transact<E: Error + Send + Sync + 'static>(
        &mut self,
        op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError>;
}

/// Runs SQL text within a transaction.
pub trait Sql {
    /// Runs statements.
    fn execute(&mut self, sql: &str) -> Result<(), AnyError>;

    /// Reads the column `value`, of type INT8.
    fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError>;
}

/// The `TransactionError` of any driver, with the same variants.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TransactionError {
    #[error("there is no connection: {0}")]
    NoConnection(AnyError),
    #[error(transparent)]
    Operation(AnyError),
    #[error("{0}")]
    Database(AnyError),
    #[error("ambiguous: {0}")]
    AmbiguousCommit(AnyError),
}

/// Converts the `TransactionError` of a driver's package.
macro_rules! from_driver {
    ($package:ident $(, $no_connection:ident)?) => {
        impl<E: std::error::Error + Send + Sync + 'static> From<$package::TransactionError<E>>
            for TransactionError
        {
            fn from(error: $package::TransactionError<E>) -> TransactionError {
                use $package::TransactionError as Error;
                match error {
                    $(Error::$no_connection(error) => Self::$no_connection(error.into()),)?
                    Error::Operation(error) => Self::Operation(error.into()),
                    Error::Database(error) => Self::Database(error.into()),
                    Error::AmbiguousCommit(error) => Self::AmbiguousCommit(error.into()),
                }
            }
        }
    };
}
pub(crate) use from_driver;
