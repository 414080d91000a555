//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&db, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `sea-orm` it needs `fastrand`, `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - `op` returns the driver's error, or an error with it as a `source()`: a retry error is found
//!   there. For anyhow: a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//! - `op` awaits a nested `begin` to the end and returns its error: after a failed one, sqlx has ended
//!   the whole transaction.
//! - `op` is `async move` and owns what it captures (no references), so that the future can be
//!   spawned.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use sea_orm::TransactionError as NestedError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbErr, RuntimeErr, TransactionTrait};
use tokio::time::sleep;

const MAX_RETRIES: u32 = 50;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + 'static>(
    db: &DatabaseConnection,
    mut op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(db).await?;
    let mut retries = 0;
    loop {
        let error = match op(&txn.txn).await {
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
            _ => return Err(error),
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
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// The transaction did not begin, or the server rejected the commit: it was rolled back.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] DbErr),
}

/// sqlx has sent BEGIN.
const AFTER_BEGIN: &str =
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const REBEGIN: &str = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot. sqlx then
/// sends a ROLLBACK: the last BEGIN opens a transaction for it.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN";

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
fn proves_rollback(error: &DbErr) -> bool {
    server_error(error).is_some_and(|(sqlstate, _)| match sqlstate.as_str() {
        "40003" => false,
        "25P02" | "25P03" => true,
        other => ["22", "23", "40", "44", "P0"].contains(&&other[..2]),
    })
}

/// Returns SQLSTATE and message of the server's error: this error, or one of its sources.
fn server_error(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    successors(Some(error), |&error| error.source()).find_map(|error| {
        let db_err = match error.downcast_ref() {
            Some(NestedError::Connection(error) | NestedError::Transaction(error)) => Some(error),
            None => error.downcast_ref(),
        };
        let runtime_err = match db_err {
            Some(DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) => Some(error),
            _ => error.downcast_ref(),
        };
        if let Some(RuntimeErr::SqlxError(error)) = runtime_err {
            let error = error.as_database_error()?;
            return Some((error.code()?.into_owned(), error.message().to_owned()));
        }
        // `#[error(transparent)]` hides a `NestedError`, but not its text.
        let text = error.to_string();
        let (_, message) = text.split_once("error returned from database: ")?;
        let retry_messages = [
            "restart transaction",
            "could not serialize",
            "deadlock detected",
        ];
        let is_retry = retry_messages
            .iter()
            .any(|begin| message.starts_with(begin));
        is_retry.then(|| ("40001".to_owned(), message.to_owned()))
    })
}

/// The transaction, on one connection of the pool. sqlx rolls back when it is dropped.
struct Txn {
    db: DatabaseConnection,
    txn: DatabaseTransaction,
}

impl Txn {
    /// Begins in a task of its own, which completes even if the caller's future is dropped. sqlx
    /// 0.9.0 loses a transaction if BEGIN is not awaited to the end (transact-rs/sqlx#4385).
    async fn begin(db: &DatabaseConnection) -> Result<Self, DbErr> {
        let db = db.clone();
        let task = tokio::spawn(async move {
            let txn = db.begin().await?;
            txn.execute_unprepared(AFTER_BEGIN).await?;
            Ok(Txn { db, txn })
        });
        let stopped = |error| Err(DbErr::Custom(format!("BEGIN was interrupted: {error}")));
        task.await.unwrap_or_else(stopped)
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        self.txn.execute_unprepared(COMMIT).await.map(drop)
    }

    async fn restart(self, statements: &str) -> Result<Self, DbErr> {
        match self.txn.execute_unprepared(statements).await {
            Ok(_) => Ok(self),
            Err(lost) if server_error(&lost).is_none() => Err(lost),
            // Begin through the pool: after a nested `begin` that failed, sqlx's count of
            // transactions on this connection is wrong.
            Err(_) => {
                let db = self.db.clone();
                drop(self);
                Txn::begin(&db).await
            }
        }
    }
}
