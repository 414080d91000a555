//! `run_transaction`: a transaction that is run again when CockroachDB asks for it.
//!
//! Copy this file into your program: besides `diesel` it needs `backon` and `thiserror`.

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use diesel::connection::{AnsiTransactionManager, SimpleConnection};
use diesel::result::DatabaseErrorKind;
use diesel::result::Error::{AlreadyInTransaction, DatabaseError};
use diesel::{PgConnection, QueryResult};

/// Runs `op` in a SERIALIZABLE transaction, again as often as the server asks for a retry, and commits.
///
/// `op` may run several times, so what it does besides SQL must bear that. Whatever happens, the
/// connection is left outside any transaction, or is known to be broken.
///
/// # Errors
///
/// See [`TransactionError`]. An error of `op` that does not ask for a retry comes back as it is.
pub fn run_transaction<T, E: Error + Send + Sync + 'static>(
    conn: &mut PgConnection,
    op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    run_transaction_with(&RetryLimits::default(), conn, op)
}

/// [`run_transaction`] with other limits than the default ones.
///
/// # Errors
///
/// See [`TransactionError`].
pub fn run_transaction_with<T, E: Error + Send + Sync + 'static>(
    limits: &RetryLimits,
    conn: &mut PgConnection,
    mut op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut delays = limits.delays();
    let mut retries = 0;
    let mut txn = Txn { conn, open: false };
    txn.begin().map_err(TransactionError::Database)?;
    loop {
        let error = match op(txn.conn) {
            Ok(value) => match txn.commit() {
                Ok(()) => return Ok(value),
                Err(error) if outcome_is_unknown(&error) => {
                    return Err(TransactionError::AmbiguousCommit(error));
                }
                Err(error) => TransactionError::Database(error),
            },
            Err(error) => TransactionError::Operation(error),
        };
        let Some(retry) = Retry::asked_for_by(&error) else {
            return Err(error);
        };
        let Some(delay) = delays.next() else {
            return Err(TransactionError::RetriesExhausted {
                retries,
                last: error.into(),
            });
        };
        retries += 1;
        let restarted = match retry {
            Retry::InPlace => {
                sleep(delay);
                txn.back_to_savepoint()
            }
            Retry::FromStart => {
                // Others may have the rows while we wait.
                txn.roll_back();
                sleep(delay);
                txn.begin()
            }
        };
        restarted.map_err(|failed| TransactionError::RestartFailed {
            error: failed,
            asked_by: error.into(),
        })?;
    }
}

/// How often a transaction is run again, and how long to wait before that.
#[derive(Clone, Debug)]
pub struct RetryLimits {
    /// Retries after the first run.
    pub max_retries: usize,
    /// The longest that the first retry waits. Each further one may wait twice as long as the one before.
    pub first_delay: Duration,
    /// The longest that any retry waits.
    pub max_delay: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        RetryLimits {
            max_retries: 50,
            first_delay: Duration::from_millis(10),
            max_delay: Duration::from_secs(1),
        }
    }
}

impl RetryLimits {
    /// How long each retry waits: exponential back-off with full jitter, a random time between nothing and
    /// the longest, so that those who met once do not meet again.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let longest = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_retries);
        // backon adds its jitter, of up to one delay, to the delay. We wait for the jitter only.
        let with_jitter = longest.with_jitter().build();
        longest
            .build()
            .zip(with_jitter)
            .map(|(longest, sum)| sum.saturating_sub(longest))
    }
}

/// Why a transaction did not commit, or is not known to have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError<E: Error + 'static> {
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit; nothing was changed.
    #[error(transparent)]
    Database(diesel::result::Error),
    /// The server went on asking for retries; the transaction was rolled back.
    #[error("the transaction was given up after {retries} retries")]
    RetriesExhausted {
        /// How often it was run again.
        retries: usize,
        /// What asked for one more retry.
        #[source]
        last: Box<dyn Error + Send + Sync>,
    },
    /// The transaction could not be set back for a retry; the server rolls it back.
    #[error("the transaction could not be restarted, as was asked for by: {asked_by}")]
    RestartFailed {
        /// Why it could not be restarted.
        #[source]
        error: diesel::result::Error,
        /// What asked for the retry.
        asked_by: Box<dyn Error + Send + Sync>,
    },
    /// The answer to the commit did not arrive (SQLSTATE 40003, or the connection was lost): all of it may
    /// have happened, or nothing. Look before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] diesel::result::Error),
}

/// How a transaction is to be run again.
enum Retry {
    /// CockroachDB: back to the savepoint. The transaction keeps its place in the queue.
    InPlace,
    /// PostgreSQL: a savepoint would keep the stale snapshot, so a new transaction.
    FromStart,
}

impl Retry {
    /// Finds the server's wish for a retry, also where `op` wrapped it in errors of its own.
    fn asked_for_by<E: Error + 'static>(error: &TransactionError<E>) -> Option<Retry> {
        let outermost: &(dyn Error + 'static) = match error {
            TransactionError::Operation(error) => error,
            TransactionError::Database(error) => error,
            _ => return None,
        };
        let mut causes = successors(Some(outermost), |&error| error.source());
        match causes.find_map(|cause| cause.downcast_ref()) {
            Some(DatabaseError(DatabaseErrorKind::SerializationFailure, information)) => {
                match information.message().starts_with("restart transaction") {
                    true => Some(Retry::InPlace),
                    false => Some(Retry::FromStart),
                }
            }
            // Diesel has no kind for SQLSTATE 40P01.
            Some(DatabaseError(_, information)) if information.message() == "deadlock detected" => {
                Some(Retry::FromStart)
            }
            _ => None,
        }
    }
}

/// Whether the server's answer to the commit leaves open what became of it. Diesel does not pass on the
/// SQLSTATE, so the message has to tell.
fn outcome_is_unknown(error: &diesel::result::Error) -> bool {
    match error {
        DatabaseError(
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
            _,
        ) => true,
        DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let message = information.message();
            // SQLSTATE 40003, and class 57: cancelled, or the server is going down.
            let open = [
                "result is ambiguous",
                "cancel",
                "terminating connection",
                "shutting down",
            ];
            open.iter().any(|words| message.contains(words))
        }
        _ => false,
    }
}

/// The open transaction.
struct Txn<'a> {
    conn: &'a mut PgConnection,
    open: bool,
}

impl Txn<'_> {
    /// Through Diesel's transaction manager, so that a transaction inside `op` becomes a savepoint.
    fn begin(&mut self) -> QueryResult<()> {
        let sql = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
        let begun = AnsiTransactionManager::begin_transaction_sql(self.conn, sql);
        // Within another transaction there is nothing of ours to roll back.
        self.open = !matches!(begun, Err(AlreadyInTransaction));
        begun
    }

    /// RELEASE is where CockroachDB commits: there it can still ask for a retry, at COMMIT no more.
    ///
    /// Diesel's transaction manager learns from libpq that the transaction is over.
    fn commit(&mut self) -> QueryResult<()> {
        self.conn
            .batch_execute("RELEASE SAVEPOINT cockroach_restart; COMMIT")?;
        self.open = false;
        Ok(())
    }

    fn back_to_savepoint(&mut self) -> QueryResult<()> {
        self.conn
            .batch_execute("ROLLBACK TO SAVEPOINT cockroach_restart")
    }

    /// If this fails, the connection is lost, and the server rolls back.
    fn roll_back(&mut self) {
        let _ = self.conn.batch_execute("ROLLBACK");
        self.open = false;
    }
}

/// After an error, and when `op` panics.
impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            self.roll_back();
        }
    }
}
