//! `run_transaction`: a transaction that is run again when CockroachDB asks for it.
//!
//! Copy this file into your program: besides `sea-orm` it needs `backon`, `thiserror` and `tokio`.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, TransactionTrait,
};
use tokio::time::sleep;

/// Runs `op` in a SERIALIZABLE transaction, again as often as the server asks for a retry, and commits.
///
/// `op` may run several times, so what it does besides SQL must bear that. Whatever happens, the
/// connection is left outside any transaction, or is known to be broken.
///
/// # Errors
///
/// See [`TransactionError`]. An error of `op` that does not ask for a retry comes back as it is.
pub async fn run_transaction<T, E: Error + Send + Sync + 'static>(
    db: &DatabaseConnection,
    op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    run_transaction_with(&RetryLimits::default(), db, op).await
}

/// [`run_transaction`] with other limits than the default ones.
///
/// # Errors
///
/// See [`TransactionError`].
pub async fn run_transaction_with<T, E: Error + Send + Sync + 'static>(
    limits: &RetryLimits,
    db: &DatabaseConnection,
    mut op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut delays = limits.delays();
    let mut retries = 0;
    let mut txn = begin(db).await.map_err(TransactionError::Database)?;
    loop {
        let (open, error) = match op(&txn).await {
            Ok(value) => match commit(txn).await {
                Ok(()) => return Ok(value),
                Err((_, error)) if outcome_is_unknown(&error) => {
                    return Err(TransactionError::AmbiguousCommit(error));
                }
                Err((open, error)) => (open, TransactionError::Database(error)),
            },
            Err(error) => (Some(txn), TransactionError::Operation(error)),
        };
        let Some(retry) = Retry::asked_for_by(&error) else {
            roll_back(open).await;
            return Err(error);
        };
        let Some(delay) = delays.next() else {
            roll_back(open).await;
            return Err(TransactionError::RetriesExhausted {
                retries,
                last: error.into(),
            });
        };
        retries += 1;
        let restarted = match (retry, open) {
            (Retry::InPlace, Some(open)) => {
                sleep(delay).await;
                back_to_savepoint(open).await
            }
            (_, open) => {
                // Others may have the rows while we wait.
                roll_back(open).await;
                sleep(delay).await;
                begin(db).await
            }
        };
        txn = restarted.map_err(|failed| TransactionError::RestartFailed {
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
    Database(DbErr),
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
        error: DbErr,
        /// What asked for the retry.
        asked_by: Box<dyn Error + Send + Sync>,
    },
    /// The answer to the commit did not arrive (SQLSTATE 40003, or the connection was lost): all of it may
    /// have happened, or nothing. Look before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] DbErr),
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
        let error = causes.find_map(database_error)?;
        let in_place = error.message().starts_with("restart transaction");
        match error.code().as_deref() {
            Some("40001") if in_place => Some(Retry::InPlace),
            Some("40001" | "40P01") => Some(Retry::FromStart),
            _ => None,
        }
    }
}

/// Whether the server's answer to the commit leaves open what became of it.
fn outcome_is_unknown(error: &DbErr) -> bool {
    match database_error(error).and_then(|error| error.code()) {
        // 40003 says so itself. 08: connection exception. 57: cancelled, or the server is going down.
        // 58 and XX: the server itself is in trouble.
        Some(code) => {
            code == "40003"
                || ["08", "57", "58", "XX"]
                    .iter()
                    .any(|class| code.starts_with(class))
        }
        None => true,
    }
}

/// What the server said, if this is SeaORM's error or what SeaORM's error holds.
fn database_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn DatabaseError> {
    let held = match error.downcast_ref() {
        Some(DbErr::Conn(held) | DbErr::Exec(held) | DbErr::Query(held)) => Some(held),
        _ => error.downcast_ref::<RuntimeErr>(),
    };
    match held? {
        RuntimeErr::SqlxError(error) => error.as_database_error(),
        _ => None,
    }
}

/// One connection of the pool for the whole transaction. A transaction that is dropped, as when `op`
/// panics, is rolled back before its connection is used again.
async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let txn = db.begin().await?;
    let sql = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
    txn.execute_unprepared(sql).await?;
    Ok(txn)
}

/// RELEASE is where CockroachDB commits: there it can still ask for a retry, at COMMIT no more. After a
/// failed RELEASE the transaction comes back with the error, still open.
async fn commit(txn: DatabaseTransaction) -> Result<(), (Option<DatabaseTransaction>, DbErr)> {
    match txn
        .execute_unprepared("RELEASE SAVEPOINT cockroach_restart")
        .await
    {
        Ok(_) => txn.commit().await.map_err(|error| (None, error)),
        Err(error) => Err((Some(txn), error)),
    }
}

async fn back_to_savepoint(txn: DatabaseTransaction) -> Result<DatabaseTransaction, DbErr> {
    txn.execute_unprepared("ROLLBACK TO SAVEPOINT cockroach_restart")
        .await?;
    Ok(txn)
}

/// If this fails, the connection is lost, and the server rolls back.
async fn roll_back(txn: Option<DatabaseTransaction>) {
    if let Some(txn) = txn {
        let _ = txn.rollback().await;
    }
}
