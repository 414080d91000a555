//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `tokio-postgres` it needs `deadpool-postgres`,
//! `fastrand`, `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. Savepoints are fine.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - `op` returns the driver's error, or an error with it as a `source()`: a retry error is found
//!   there. For anyhow: a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//! - `op` can send statements together with `tokio::try_join!(biased; …)`: it returns the first
//!   error, which may ask for a retry.
//! - `op` is `async move` and owns what it captures (no references), so that the future can be
//!   spawned.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

const MAX_RETRIES: u32 = 50;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + 'static>(
    pool: &Pool,
    mut op: impl AsyncFnMut(&Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(pool.get().await?).await?;
    let mut retries = 0;
    loop {
        let error = match op(txn.client()).await {
            Ok(value) => match txn.commit().await {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => TransactionError::Database(error),
                Err(error) => return Err(TransactionError::AmbiguousCommit(error)),
            },
            Err(error) => TransactionError::Operation(error),
        };
        match statements_to_retry(&error) {
            Some(statements) if retries < MAX_RETRIES => {
                txn = txn.restart(statements).await?;
                sleep(pause(retries)).await;
                retries += 1;
            }
            _ => {
                txn.rollback().await;
                return Err(error);
            }
        }
    }
}

/// Returns a random pause: up to 10 ms before the first retry, then 20, 40, 80, 160 and 200 ms.
fn pause(retries: u32) -> Duration {
    let longest = 200.min(10 << retries.min(5));
    Duration::from_micros(fastrand::u64(..=1000 * longest))
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[from] PoolError),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// The transaction did not begin, or the server rejected the commit: it was rolled back.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] tokio_postgres::Error),
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const REBEGIN: &str = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";

/// Returns the statements before the next run, if the error asks for a retry.
fn statements_to_retry<E: Error + 'static>(error: &TransactionError<E>) -> Option<&'static str> {
    let (sqlstate, message) = match error {
        TransactionError::Operation(error) => server_error(error)?,
        TransactionError::Database(error) => server_error(error)?,
        _ => return None,
    };
    match sqlstate.as_str() {
        // CockroachDB retries in the same transaction.
        "40001" if message.starts_with("restart transaction") => {
            Some("ROLLBACK TO SAVEPOINT cockroach_restart")
        }
        // PostgreSQL would keep the stale snapshot.
        "40001" | "40P01" => Some(REBEGIN),
        _ => None,
    }
}

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &tokio_postgres::Error) -> bool {
    server_error(error).is_some_and(|(sqlstate, _)| match sqlstate.as_str() {
        "40003" => false,
        "25P02" | "25P03" => true,
        other => ["22", "23", "40", "44", "P0"].contains(&&other[..2]),
    })
}

/// Returns SQLSTATE and message of the server's error: this error, or one of its sources.
fn server_error(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    let mut chain = successors(Some(error), |&error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<DbError>())?;
    Some((error.code().code().to_owned(), error.message().to_owned()))
}

/// The transaction, on one connection of the pool. The connection is closed if this is dropped
/// before the transaction has ended: after a panic, or with the caller's future.
struct Txn(Option<Object>);

impl Txn {
    async fn begin(client: Object) -> Result<Self, tokio_postgres::Error> {
        let txn = Txn(Some(client));
        txn.client().batch_execute(BEGIN).await?;
        Ok(txn)
    }

    fn client(&self) -> &Client {
        self.0.as_ref().expect("the transaction is open")
    }

    async fn commit(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client().batch_execute(COMMIT).await?;
        self.0 = None;
        Ok(())
    }

    async fn restart(self, statements: &str) -> Result<Self, tokio_postgres::Error> {
        if self.client().batch_execute(statements).await.is_err() {
            // A commit that failed may have ended the transaction, and then this ROLLBACK fails.
            let _ = self.client().batch_execute("ROLLBACK").await;
            self.client().batch_execute(BEGIN).await?;
        }
        Ok(self)
    }

    async fn rollback(&mut self) {
        if self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.0 = None;
        }
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}
