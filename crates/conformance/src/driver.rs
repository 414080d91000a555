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

/// A connection (or pool) of one driver, with the samples' `connect`, `run_transaction` and
/// `transfer_funds`.
pub trait Driver: Sized + Send + 'static {
    /// What differs between the drivers.
    const FACTS: Facts;

    /// Connects with the driver's `connect`.
    ///
    /// # Errors
    ///
    /// Returns an error if no server accepts the connection.
    fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError>;

    /// Connects an asynchronous driver on this runtime. A blocking driver ignores it.
    ///
    /// # Errors
    ///
    /// Returns an error if no server accepts the connection.
    fn connect_on(_threads: Threads, url: &DatabaseUrl) -> Result<Self, ConnectError> {
        Self::connect(url)
    }

    /// Runs the sample's `transfer_funds` in `run_transaction`. If there is an entry, inserts it into
    /// the table `ledger` in the same transaction. Returns the number of runs.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transfer_with_entry(
        &mut self,
        entry: Option<i64>,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<u32, TransactionError>;

    /// Transfers without an entry.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transfer(&mut self, from: i64, to: i64, amount: i64) -> Result<u32, TransactionError> {
        self.transfer_with_entry(None, from, to, amount)
    }

    /// Transfers 1, again and again until `each` returns false. `each` gets the number of runs of each
    /// transfer.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transfer_while<S: Send + 'static>(
        &mut self,
        from: i64,
        to: i64,
        mut state: S,
        each: fn(&mut S, u32) -> bool,
    ) -> Result<S, TransactionError> {
        while each(&mut state, self.transfer(from, to, 1)?) {}
        Ok(state)
    }

    /// Transfers once for each request, by the recipe in `run_transaction`.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transfer_once(
        &mut self,
        request: i64,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<(), TransactionError>;

    /// Inserts the rows of `customers` that do not exist yet, by the recipe.
    ///
    /// # Errors
    ///
    /// Returns an error if a statement fails.
    fn insert_customers(&mut self, customers: &[(i64, String)]) -> Result<(), AnyError>;

    /// Reads the rows of `customers` up to the id `last`, by the recipe.
    ///
    /// # Errors
    ///
    /// Returns an error if the statement fails.
    fn read_customers(&mut self, last: i64, each: impl FnMut(i64, String)) -> Result<(), AnyError>;

    /// Runs `op` with `run_transaction`.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transact<E: Error + Send + Sync + 'static>(
        &mut self,
        op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError>;

    /// Runs `op` with a copy of `run_transaction` that retries for one second instead of 30.
    ///
    /// # Errors
    ///
    /// Returns an error if `run_transaction` does.
    fn transact_briefly<E: Error + Send + Sync + 'static>(
        &mut self,
        op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
    ) -> Result<(), TransactionError>;
}

/// Runs SQL text within a transaction.
pub trait Sql {
    /// Runs statements.
    ///
    /// # Errors
    ///
    /// Returns an error if a statement fails.
    fn execute(&mut self, sql: &str) -> Result<(), AnyError>;

    /// Reads the column `value`, of type INT8.
    ///
    /// # Errors
    ///
    /// Returns an error if a statement fails.
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

/// Returns the statement that inserts an entry.
pub(crate) fn insert_entry(entry: i64) -> String {
    format!("INSERT INTO ledger (entry) VALUES ({entry})")
}

/// Declares a driver's copy of `run_transaction` with a time limit of one second, and converts its
/// `TransactionError`.
macro_rules! brief {
    ($driver:literal $(, $no_connection:ident)?) => {
        mod brief {
            include!(concat!(env!("OUT_DIR"), "/", $driver, ".rs"));
        }
        $crate::driver::from_driver!(brief $(, $no_connection)?);
    };
}
pub(crate) use brief;

/// Converts the `TransactionError` of a driver's package.
macro_rules! from_driver {
    ($package:ident $(, $no_connection:ident)?) => {
        impl<E: std::error::Error + Send + Sync + 'static> From<$package::TransactionError<E>>
            for TransactionError
        {
            fn from(error: $package::TransactionError<E>) -> TransactionError {
                use $package::TransactionError as DriverError;
                match error {
                    $(DriverError::$no_connection(error) => TransactionError::$no_connection(error.into()),)?
                    DriverError::Operation(error) => TransactionError::Operation(error.into()),
                    DriverError::Database(error) => TransactionError::Database(error.into()),
                    DriverError::AmbiguousCommit(error) => TransactionError::AmbiguousCommit(error.into()),
                }
            }
        }
    };
}
pub(crate) use from_driver;
