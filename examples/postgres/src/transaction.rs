//! `run_transaction` runs a transaction, and runs it again when CockroachDB asks for a retry.
//!
//! `run_transaction(&mut client, |txn| transfer_funds(txn, 3, 4, 100))?`
//!
//! Copy this file into your program; besides `postgres` it needs `fastrand` and `thiserror`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - Send no COMMIT and no ROLLBACK in `op`, and do not call `transaction()`: the result would be
//!   `AmbiguousCommit`.
//! - Make no schema changes in `op`: CockroachDB commits the statements before them (the session
//!   setting `autocommit_before_ddl`, on since v25.1).
//! - An error of `op` keeps its type: match on [`TransactionError::Operation`]. Its `source()` must
//!   lead to the driver's error, so that a retry error is found.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::Duration;

use postgres::Client;
use postgres::error::DbError;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub fn run_transaction<T, E: Error + Send + Sync + 'static>(
    client: &mut Client,
    op: impl FnMut(&mut Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    run_transaction_with(default_pauses(), client, op)
}

/// Like [`run_transaction`], with these pauses: one before each retry. Returns the same errors.
pub fn run_transaction_with<T, E: Error + Send + Sync + 'static>(
    mut pauses: impl Iterator<Item = Duration>,
    client: &mut Client,
    mut op: impl FnMut(&mut Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(client).map_err(TransactionError::Database)?;
    let mut retries = 0;
    loop {
        let error = match op(txn.client) {
            Ok(value) => match txn.commit() {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => TransactionError::Database(error),
                Err(error) => return Err(TransactionError::AmbiguousCommit(error)),
            },
            Err(error) => TransactionError::Operation(error),
        };
        let retry = retry_kind(&error);
        let pause = retry.and_then(|_| pauses.next());
        let reset = txn.reset(retry.zip(pause));
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
            (_, Err(_)) => txn = txn.begin_anew().map_err(TransactionError::Database)?,
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
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed or the server rejected the commit; the transaction was rolled back.
    #[error(transparent)]
    Database(postgres::Error),
    /// After this many retries the server asked for one more; the transaction was rolled back.
    #[error("the transaction was given up after {0} retries")]
    RetriesExhausted(usize, #[source] Box<dyn Error + Send + Sync>),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] postgres::Error),
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
fn proves_rollback(error: &postgres::Error) -> bool {
    server_error(error).is_some_and(|(sqlstate, _)| match sqlstate.as_str() {
        "40003" => false,
        "25P02" | "25P03" => true,
        other => ["22", "23", "40", "44", "P0"].contains(&&other[..2]),
    })
}

/// Returns whether `gone`, the answer to ROLLBACK TO SAVEPOINT, means that `op` has ended the
/// transaction. After a COMMIT that failed there is no transaction either.
fn ended_by_op<E: Error>(error: &TransactionError<E>, gone: &postgres::Error) -> bool {
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

/// The open transaction.
struct Txn<'a> {
    client: &'a mut Client,
    open: bool,
}

impl<'a> Txn<'a> {
    fn begin(client: &'a mut Client) -> Result<Self, postgres::Error> {
        let txn = Txn { client, open: true };
        txn.client.batch_execute(BEGIN).map(|()| txn)
    }

    /// RELEASE SAVEPOINT commits on CockroachDB and can still return a retry error; COMMIT cannot.
    fn commit(&mut self) -> Result<(), postgres::Error> {
        let committed = self
            .client
            .batch_execute("RELEASE SAVEPOINT cockroach_restart; COMMIT");
        self.open = committed.is_err();
        committed
    }

    /// Prepares the next run of `op`, or rolls back if there is none.
    fn reset(&mut self, next: Option<(Retry, Duration)>) -> Result<(), postgres::Error> {
        match next {
            None => {
                let rolled_back = self
                    .client
                    .batch_execute(&format!("{TO_SAVEPOINT}; ROLLBACK"));
                self.open = rolled_back.is_err();
                rolled_back
            }
            Some((Retry::InPlace, pause)) => {
                sleep(pause);
                self.client.batch_execute(TO_SAVEPOINT)
            }
            Some((Retry::FromStart, pause)) => {
                // Release the locks before the pause.
                self.client
                    .batch_execute(&format!("{TO_SAVEPOINT}; ROLLBACK; {BEGIN}"))?;
                sleep(pause);
                Ok(())
            }
        }
    }

    fn begin_anew(self) -> Result<Self, postgres::Error> {
        // This may fail: perhaps no transaction is open.
        let _ = self.client.batch_execute("ROLLBACK");
        self.client.batch_execute(BEGIN).map(|()| self)
    }
}

/// Rolls back if `op` panics, or if the commit has failed.
impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}
