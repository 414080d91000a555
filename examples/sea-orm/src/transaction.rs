//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&db, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `sea-orm` it needs `fastrand`, `log`, `thiserror` and
//! `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` reads everything that it depends on: with a value from before, each run fails the same way.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. A nested `begin` is a savepoint: await it to the end and
//!   return its error. After a failed one sqlx has ended the whole transaction, and each further
//!   statement would commit by itself.
//! - A `run_transaction` inside `op` is a transaction of its own: it needs a second connection, and may
//!   wait for the locks of the outer one.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - The error of `op` is the driver's error, or has it as a `source()`: there a retry error is
//!   found. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//! - `op` is `async move` and owns what it captures (no references), so that the future can be
//!   spawned.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbErr, RuntimeErr, TransactionTrait};
use tokio::time::sleep;

use TransactionError::{AmbiguousCommit, Database, Operation};

const MAX_RETRIES: usize = 50;

/// sqlx has sent BEGIN. CockroachDB restarts a transaction from the savepoint of this name.
const AFTER_BEGIN: &str =
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const RESTART: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot. sqlx then
/// sends a ROLLBACK: the last BEGIN opens a transaction for it.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN";

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards the connection has no transaction with changes or locks, or it is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + 'static>(
    db: &DatabaseConnection,
    mut op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = begin(db).await.map_err(Database)?;
    let mut retries = 0;
    loop {
        let error = match op(&txn).await {
            Ok(value) => match txn.execute_unprepared(COMMIT).await {
                Ok(_) => return Ok(value),
                Err(error) if proves_rollback(&error) => Database(error),
                Err(error) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let Some((sqlstate, message)) = retry_error(&error) else {
            let _ = txn.rollback().await;
            return Err(error);
        };
        if retries == MAX_RETRIES {
            log::warn!("gave up after {retries} retries: {sqlstate} {message}");
            let _ = txn.rollback().await;
            return Err(error);
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place = retries == 1 && message.starts_with("restart transaction");
        let restarted = in_place && txn.execute_unprepared(RESTART).await.is_ok();
        if !restarted {
            // sqlx sends ROLLBACK and gives the connection back to the pool.
            drop(txn);
            // Random: transactions that failed together must not meet again.
            sleep(Duration::from_micros(fastrand::u64(..=100_000))).await;
            match begin(db).await {
                Ok(begun) => txn = begun,
                Err(_) => return Err(error),
            }
        }
    }
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
    #[error(transparent)]
    Database(DbErr),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] DbErr),
}

/// Returns SQLSTATE and message of an error that asks for a retry. `AmbiguousCommit` has none.
fn retry_error<'a>(error: &'a (dyn Error + 'static)) -> Option<(&'a str, &'a str)> {
    if let Some(error) = server_error(error) {
        let is_retry = ["40001", "40P01"].contains(&error.code());
        return is_retry.then(|| (error.code(), error.message()));
    }
    // SeaORM's own `TransactionError` has no `source()`, but the server's message is in its text.
    successors(Some(error), |&error| error.source()).find_map(|error| {
        let text = error.to_string();
        let (_, text) = text.split_once("error returned from database: ")?;
        RETRY_MESSAGES
            .into_iter()
            .find(|(_, message)| text.starts_with(message))
    })
}

/// The beginnings of the messages of retry errors, each with its SQLSTATE.
const RETRY_MESSAGES: [(&str, &str); 3] = [
    ("40001", "restart transaction"),
    ("40001", "could not serialize access"),
    ("40P01", "deadlock detected"),
];

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &DbErr) -> bool {
    // 22 data exception, 23 integrity constraint violation, 40 transaction rollback, 44 WITH CHECK
    // OPTION violation, P0 PL/pgSQL error, 25P02 failed transaction, 25P03 idle transaction.
    let proofs = ["22", "23", "40", "44", "P0", "25P02", "25P03"];
    match server_error(error).map(PgDatabaseError::code) {
        // The server does not know whether the transaction was committed.
        None | Some("40003") => false,
        Some(code) => proofs.iter().any(|proof| code.starts_with(proof)),
    }
}

/// Returns the server's error: a source of this error.
fn server_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a PgDatabaseError> {
    let mut chain = successors(Some(error), |&error| error.source());
    match chain.find_map(|error| error.downcast_ref())? {
        RuntimeErr::SqlxError(error) => error.as_database_error()?.try_downcast_ref(),
        RuntimeErr::Internal(_) => None,
    }
}

/// Begins in a task of its own, which completes even if the caller's future is dropped. sqlx 0.9.0
/// loses a transaction if BEGIN is not awaited to the end (transact-rs/sqlx#4385).
async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let db = db.clone();
    let task = tokio::spawn(async move {
        let txn = db.begin().await?;
        txn.execute_unprepared(AFTER_BEGIN).await?;
        Ok(txn)
    });
    let stopped = |error| Err(DbErr::Custom(format!("BEGIN was interrupted: {error}")));
    task.await.unwrap_or_else(stopped)
}
