//! `run_transaction` runs a transaction, and runs it again when CockroachDB asks for a retry.
//!
//! `run_transaction(&db, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `sea-orm` it needs `fastrand`, `thiserror` and
//! `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - Send no COMMIT and no ROLLBACK in `op`: the result would be `AmbiguousCommit`.
//! - Make no schema changes in `op`: CockroachDB commits the statements before them (the session
//!   setting `autocommit_before_ddl`, on since v25.1).
//! - An error of `op` keeps its type: match on [`TransactionError::Operation`]. Its `source()` must
//!   lead to the driver's error, so that a retry error is found.
//! - To spawn the future, write `async move` and let `op` own what it captures (no references).
//! - A retry error is also found in `sea_orm::TransactionError<DbErr>`, the error of a nested
//!   transaction. Await a nested `begin` to the end and return its error: after a failed one, sqlx
//!   has ended the whole transaction.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use sea_orm::TransactionError as NestedError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbErr, RuntimeErr, TransactionTrait};
use tokio::time::sleep;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + Send + Sync + 'static>(
    db: &DatabaseConnection,
    op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    run_transaction_with(default_pauses(), db, op).await
}

/// Like [`run_transaction`], with these pauses: one before each retry. Returns the same errors.
pub async fn run_transaction_with<T, E: Error + Send + Sync + 'static>(
    mut pauses: impl Iterator<Item = Duration>,
    db: &DatabaseConnection,
    mut op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(db).await.map_err(TransactionError::Database)?;
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
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed or the server rejected the commit; the transaction was rolled back.
    #[error(transparent)]
    Database(DbErr),
    /// After this many retries the server asked for one more; the transaction was rolled back.
    #[error("the transaction was given up after {0} retries")]
    RetriesExhausted(usize, #[source] Box<dyn Error + Send + Sync>),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] DbErr),
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
fn proves_rollback(error: &DbErr) -> bool {
    server_error(error).is_some_and(|(sqlstate, _)| match sqlstate.as_str() {
        "40003" => false,
        "25P02" | "25P03" => true,
        other => ["22", "23", "40", "44", "P0"].contains(&&other[..2]),
    })
}

/// Returns whether `gone`, the answer to ROLLBACK TO SAVEPOINT, means that `op` has ended the
/// transaction. After a COMMIT that failed there is no transaction either.
fn ended_by_op<E: Error>(error: &TransactionError<E>, gone: &DbErr) -> bool {
    server_error(gone).is_some_and(|(sqlstate, message)| match sqlstate.as_str() {
        "3B001" => message.contains("cockroach_restart"),
        "25000" | "25P01" => matches!(error, TransactionError::Operation(_)),
        _ => false,
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

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const TO_SAVEPOINT: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";

/// The open transaction, on one connection of the pool. sqlx sends ROLLBACK when it is dropped.
struct Txn {
    db: DatabaseConnection,
    txn: DatabaseTransaction,
}

impl Txn {
    /// Begins in a task of its own, which completes even if the caller's future is dropped. sqlx
    /// 0.9.0 loses a transaction if BEGIN is not awaited to the end (transact-rs/sqlx#4385).
    async fn begin(db: &DatabaseConnection) -> Result<Txn, DbErr> {
        let db = db.clone();
        let task = tokio::spawn(async move {
            let txn = db.begin().await?;
            let txn = Txn { db, txn };
            txn.send("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart")
                .await?;
            Ok(txn)
        });
        let stopped = |error| Err(DbErr::Custom(format!("BEGIN was interrupted: {error}")));
        task.await.unwrap_or_else(stopped)
    }

    async fn send(&self, sql: &str) -> Result<(), DbErr> {
        self.txn.execute_unprepared(sql).await.map(drop)
    }

    /// RELEASE SAVEPOINT commits on CockroachDB and can still return a retry error; COMMIT cannot.
    /// sqlx then sends a ROLLBACK. The BEGIN opens a transaction for it to end.
    async fn commit(&self) -> Result<(), DbErr> {
        self.send("RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN")
            .await
    }

    /// Prepares the next run of `op`, or rolls back if there is none.
    async fn reset(&self, next: Option<(Retry, Duration)>) -> Result<(), DbErr> {
        let Some((retry, pause)) = next else {
            return self.send(TO_SAVEPOINT).await;
        };
        if let Retry::InPlace = retry {
            sleep(pause).await;
            return self.send(TO_SAVEPOINT).await;
        }
        // Release the locks before the pause.
        self.send(&format!("{TO_SAVEPOINT}; ROLLBACK; {BEGIN}"))
            .await?;
        sleep(pause).await;
        Ok(())
    }

    /// Begins through the pool: sqlx miscounts transactions after a `begin` within `op` that failed.
    async fn begin_anew(self) -> Result<Txn, DbErr> {
        match self.send("ROLLBACK").await {
            Err(lost) if server_error(&lost).is_none() => return Err(lost),
            _ => drop(self.txn),
        }
        Txn::begin(&self.db).await
    }
}
