//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&db, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `sea-orm` it needs `fastrand`, `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. A nested `begin` is a savepoint: await it to the end and
//!   return its error, because after a failed one sqlx has ended the whole transaction.
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

use sea_orm::TransactionError as NestedError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbErr, RuntimeErr, TransactionTrait};
use tokio::time::sleep;

use TransactionError::{AmbiguousCommit, Database, Operation};

const MAX_RETRIES: usize = 50;

/// sqlx has sent BEGIN. CockroachDB restarts a transaction from the savepoint of this name.
const AFTER_BEGIN: &str =
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const REBEGIN: &str = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const RESTART: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot. sqlx then
/// sends a ROLLBACK: the last BEGIN opens a transaction for it.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN";

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
        let (restart, error) = match op(&txn.open).await {
            Ok(value) => match txn.commit().await {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => (restart_sql(&error), Database(error)),
                Err(error) => return Err(AmbiguousCommit(error)),
            },
            Err(error) => (restart_sql(&error), Operation(error)),
        };
        match restart {
            Some(sql) if retries < MAX_RETRIES => txn = txn.restart(sql).await?,
            _ => return Err(error),
        }
        sleep(pause(retries)).await;
        retries += 1;
    }
}

/// Returns a random pause: transactions that failed together shall not meet again.
fn pause(retries: usize) -> Duration {
    let most_ms = [10, 20, 40, 80, 160, 200][retries.min(5)];
    Duration::from_micros(fastrand::u64(..=1000 * most_ms))
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] DbErr),
}

/// Returns the statements that make the next run possible, if the error asks for a retry.
fn restart_sql(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let (sqlstate, message) = server_error(error)?;
    match sqlstate.as_str() {
        "40001" if message.starts_with("restart transaction") => Some(RESTART),
        // PostgreSQL: after ROLLBACK TO SAVEPOINT, the transaction would keep its stale snapshot.
        "40001" | "40P01" => Some(REBEGIN),
        _ => None,
    }
}

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &DbErr) -> bool {
    let proofs = ["22", "23", "40", "44", "P0", "25P02", "25P03"];
    // 40003: the server does not know whether the transaction was committed.
    server_error(error).is_some_and(|(sqlstate, _)| {
        sqlstate != "40003" && proofs.iter().any(|proof| sqlstate.starts_with(proof))
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
        let begins = |text| message.starts_with(text);
        let is_retry = begins("restart transaction") || begins("could not serialize access");
        (is_retry || begins("deadlock detected")).then(|| ("40001".to_owned(), message.to_owned()))
    })
}

/// The transaction, on one connection of the pool. sqlx rolls back when it is dropped.
struct Txn {
    db: DatabaseConnection,
    open: DatabaseTransaction,
}

impl Txn {
    /// Begins in a task of its own, which completes even if the caller's future is dropped. sqlx
    /// 0.9.0 loses a transaction if BEGIN is not awaited to the end (transact-rs/sqlx#4385).
    async fn begin(db: &DatabaseConnection) -> Result<Self, DbErr> {
        let db = db.clone();
        let task = tokio::spawn(async move {
            let open = db.begin().await?;
            open.execute_unprepared(AFTER_BEGIN).await?;
            Ok(Txn { db, open })
        });
        let stopped = |error| Err(DbErr::Custom(format!("BEGIN was interrupted: {error}")));
        task.await.unwrap_or_else(stopped)
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        self.open.execute_unprepared(COMMIT).await.map(drop)
    }

    async fn restart(self, sql: &str) -> Result<Self, DbErr> {
        match self.open.execute_unprepared(sql).await {
            Ok(_) => Ok(self),
            Err(lost) if server_error(&lost).is_none() => Err(lost),
            // Begin through the pool: after a nested `begin` that failed, sqlx miscounts the
            // transactions of this connection. Drop it first: the pool may have no other.
            Err(_) => {
                let db = self.db.clone();
                drop(self);
                Txn::begin(&db).await
            }
        }
    }
}
