//! `run_transaction` runs a transaction, and runs it again when CockroachDB asks for a retry.
//!
//! `run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `tokio-postgres` it needs `deadpool-postgres`, `fastrand`,
//! `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - Send no COMMIT and no ROLLBACK in `op`: the result would be `AmbiguousCommit`.
//! - Make no schema changes in `op`: CockroachDB commits the statements before them (the session
//!   setting `autocommit_before_ddl`, on since v25.1).
//! - An error of `op` keeps its type: match on [`TransactionError::Operation`]. Its `source()` must
//!   lead to the driver's error, so that a retry error is found.
//! - `op` can send statements together. Write `tokio::try_join!(biased; …)`: it returns the first
//!   error, which may ask for a retry.
//! - To spawn the future, write `async move` and let `op` own what it captures (no references).
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + Send + Sync + 'static>(
    pool: &Pool,
    op: impl AsyncFnMut(&Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    run_transaction_with(default_pauses(), pool, op).await
}

/// Like [`run_transaction`], with these pauses: one before each retry. Returns the same errors.
pub async fn run_transaction_with<T, E: Error + Send + Sync + 'static>(
    mut pauses: impl Iterator<Item = Duration>,
    pool: &Pool,
    mut op: impl AsyncFnMut(&Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let client = pool
        .get()
        .await
        .map_err(|error| TransactionError::NoConnection(error.into()))?;
    let mut txn = Txn::begin(client)
        .await
        .map_err(TransactionError::Database)?;
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
        let retry = retry_kind(&error);
        let pause = retry.and_then(|_| pauses.next());
        let reset = txn.reset(retry.zip(pause)).await;
        match (error, reset) {
            // There is no savepoint: `op` has ended the transaction, perhaps with COMMIT.
            (error, Err(gone)) if ended_by_op(&error, &gone) => {
                return Err(TransactionError::AmbiguousCommit(gone));
            }
            (error, _) if retry.is_none() => return Err(error),
            (error, _) if pause.is_none() => {
                return Err(TransactionError::RetriesExhausted(retries, error.into()));
            }
            // This transaction cannot go on: retry in a new one.
            (_, Err(_)) => txn = txn.begin_anew().await.map_err(TransactionError::Database)?,
            (_, Ok(())) => {}
        }
        retries += 1;
    }
}

/// Returns 50 random pauses: exponential backoff from 10 ms up to 200 ms, with full jitter.
pub fn default_pauses() -> impl Iterator<Item = Duration> {
    let longest = (0..50).map(|retry| 200_000.min(10_000 << retry.min(5)));
    longest.map(|microseconds| Duration::from_micros(fastrand::u64(..=microseconds)))
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[source] Box<dyn Error + Send + Sync>),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed or the server rejected the commit; the transaction was rolled back.
    #[error(transparent)]
    Database(tokio_postgres::Error),
    /// After this many retries the server asked for one more; the transaction was rolled back.
    #[error("the transaction was given up after {0} retries")]
    RetriesExhausted(usize, #[source] Box<dyn Error + Send + Sync>),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] tokio_postgres::Error),
}

/// The way to run `op` again.
#[derive(Clone, Copy)]
enum Retry {
    /// In the same transaction, after a rollback to the savepoint: for CockroachDB.
    InPlace,
    /// In a new transaction: for PostgreSQL, where the savepoint keeps the stale snapshot.
    FromStart,
}

/// Returns how to retry, if this error or one of its sources asks for a retry.
fn retry_kind<E: Error + 'static>(error: &TransactionError<E>) -> Option<Retry> {
    let (sqlstate, message) = match error {
        TransactionError::Operation(error) => server_error(error)?,
        TransactionError::Database(error) => server_error(error)?,
        _ => return None,
    };
    match sqlstate.as_str() {
        "40001" if message.starts_with("restart transaction") => Some(Retry::InPlace),
        "40001" | "40P01" => Some(Retry::FromStart),
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

/// Returns whether `gone`, the answer to ROLLBACK TO SAVEPOINT, means that `op` has ended the
/// transaction. After a COMMIT that failed there is no transaction either.
fn ended_by_op<E: Error>(error: &TransactionError<E>, gone: &tokio_postgres::Error) -> bool {
    server_error(gone).is_some_and(|(sqlstate, message)| match sqlstate.as_str() {
        "3B001" => message.contains("cockroach_restart"),
        "25000" | "25P01" => matches!(error, TransactionError::Operation(_)),
        _ => false,
    })
}

/// Returns SQLSTATE and message of the server's error: this error, or one of its sources.
fn server_error(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    let mut chain = successors(Some(error), |&error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<DbError>())?;
    Some((error.code().code().to_owned(), error.message().to_owned()))
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const TO_SAVEPOINT: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";

/// The open transaction, on one connection of the pool.
struct Txn {
    /// `None` after the end of the transaction, when the connection is back in the pool.
    client: Option<Object>,
}

impl Txn {
    async fn begin(client: Object) -> Result<Self, tokio_postgres::Error> {
        let txn = Txn {
            client: Some(client),
        };
        txn.client().batch_execute(BEGIN).await.map(|()| txn)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the transaction is open")
    }

    /// RELEASE SAVEPOINT commits on CockroachDB and can still return a retry error; COMMIT cannot.
    async fn commit(&mut self) -> Result<(), tokio_postgres::Error> {
        let sql = "RELEASE SAVEPOINT cockroach_restart; COMMIT";
        self.client().batch_execute(sql).await?;
        self.client = None;
        Ok(())
    }

    /// Prepares the next run of `op`, or rolls back if there is none.
    async fn reset(
        &mut self,
        next: Option<(Retry, Duration)>,
    ) -> Result<(), tokio_postgres::Error> {
        match next {
            None => {
                let sql = format!("{TO_SAVEPOINT}; ROLLBACK");
                self.client().batch_execute(&sql).await?;
                self.client = None;
                Ok(())
            }
            Some((Retry::InPlace, pause)) => {
                sleep(pause).await;
                self.client().batch_execute(TO_SAVEPOINT).await
            }
            Some((Retry::FromStart, pause)) => {
                // Release the locks before the pause.
                let sql = format!("{TO_SAVEPOINT}; ROLLBACK; {BEGIN}");
                self.client().batch_execute(&sql).await?;
                sleep(pause).await;
                Ok(())
            }
        }
    }

    async fn begin_anew(self) -> Result<Self, tokio_postgres::Error> {
        // This may fail: perhaps no transaction is open.
        let _ = self.client().batch_execute("ROLLBACK").await;
        self.client().batch_execute(BEGIN).await.map(|()| self)
    }
}

/// Closes the connection if the future is dropped, `op` panics, or the commit has failed. Until the
/// server has ended the transaction, for at most 10 s, the connection keeps its place in the pool.
impl Drop for Txn {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return drop(Object::take(client));
        };
        runtime.spawn(async move {
            let _ = timeout(Duration::from_secs(10), client.batch_execute("ROLLBACK")).await;
            drop(Object::take(client));
        });
    }
}
