//! `run_transaction` runs a transaction, and runs it again if the server asks for a retry.
//!
//! Copy this file into your program; besides `sea-orm` it needs `fastrand`, `log`, `thiserror` and
//! `tokio`.
//! The protocol: <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction};
use sea_orm::{DbErr, RuntimeErr, TransactionTrait};
use tokio::time::sleep;

use TransactionError::{AmbiguousCommit, Database, NoConnection, Operation};

/// No retry is started later than this after the first run began.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Each pause is a random part of this: transactions that failed together must not meet again.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
/// The same after sqlx's own BEGIN.
const AFTER_BEGIN: &str =
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const RESTART: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";
/// Fails if `op` has ended the transaction: then the savepoint is gone.
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT cockroach_restart; ROLLBACK";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot. sqlx then
/// sends a ROLLBACK: the last BEGIN opens a transaction for it.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT; BEGIN";

/// Runs `op` in a SERIALIZABLE transaction and commits. If the server asks for a retry, runs it again,
/// for up to 30 seconds. Afterwards the pool has no open transaction.
///
/// - `op` can run more than once: avoid side effects outside the database.
/// - `op` reads everything that it depends on: with a value that was read outside, each run would fail.
/// - `op` must not end its transaction: no COMMIT or ROLLBACK as text, no schema change
///   (CockroachDB from 25.1 on commits before it). If it does, it is not run again, and the result
///   is [`AmbiguousCommit`]. A `begin` in `op` is a savepoint: await it to the end. If it is
///   dropped before, or fails, sqlx ends the whole transaction, with the same result. A
///   `run_transaction` in `op` is a transaction of its own, on a second connection; it may wait for
///   the locks of the outer one.
/// - The error of `op` is the driver's error, or has it as a `source()`: a retry error is looked for
///   there. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
/// - `op` is `async move` and owns what it captures, so that the future can be spawned.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back (`NoConnection`, `Operation`, `Database`), or if
/// its outcome is not known (`AmbiguousCommit`). After the last retry, the error is that of the last run.
///
/// # Cancel safety
///
/// If the future is dropped, the transaction is rolled back, unless it was waiting for the commit: then
/// its outcome is not known. For a time limit, let `op` return an error when the time is over.
///
/// # Examples
///
/// ```no_run
/// # use sea_orm::{ConnectionTrait, DatabaseConnection};
/// # async fn example(db: DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
/// crdb_sea_orm::run_transaction(&db, async move |txn| {
///     txn.execute_unprepared("UPDATE accounts SET balance = 0 WHERE id = 3").await
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn run_transaction<T, E: Error + 'static>(
    db: &DatabaseConnection,
    mut op: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = begin(db).await?;
    let (began, mut retries) = (Instant::now(), 0);
    let (error, has_savepoint) = loop {
        let error = match op(&txn).await {
            Ok(value) => match txn.execute_unprepared(COMMIT).await {
                Ok(_) => return Ok(value),
                Err(error) if begins_with(&error, &ROLLED_BACK) => Database(error),
                Err(error) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let retry = retry_error(&error);
        let again = retry.is_some() && began.elapsed() + MAX_PAUSE < RETRY_FOR;
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place =
            again && retries == 0 && retry.is_some_and(|(_, text)| text.starts_with("restart "));
        // At the end, sqlx's own ROLLBACK follows.
        let anew = again && !in_place;
        let answer = roll_back(&txn, if anew { ROLLBACK } else { RESTART }).await;
        // PostgreSQL ends the transaction if COMMIT fails. Otherwise `op` has ended it.
        let by_op = if matches!(error, Operation(_)) {
            &ENDED[..]
        } else {
            &ENDED[..2]
        };
        let answer = match answer {
            Err(answer) if begins_with(&answer, by_op) => {
                log::error!("the transaction ended within op: {error}");
                break (AmbiguousCommit(answer), false);
            }
            answer => answer,
        };
        let Some((sqlstate, message)) = retry else {
            break (error, answer.is_ok());
        };
        if !again {
            let seconds = began.elapsed().as_secs_f32();
            log::warn!("gave up after {retries} retries in {seconds:.1} s: {sqlstate} {message}");
            break (error, answer.is_ok());
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        if in_place && answer.is_ok() {
            continue;
        }
        sleep(MAX_PAUSE.mul_f32(fastrand::f32())).await;
        let begun = match answer {
            Ok(()) => txn.execute_unprepared(BEGIN).await.map(drop),
            // COMMIT has ended the transaction (PostgreSQL), and sqlx may have lost count of it.
            Err(ended) if begins_with(&ended, &ENDED) => match begin::<E>(db).await {
                Ok(begun) => {
                    txn = begun;
                    Ok(())
                }
                Err(_) => Err(ended),
            },
            Err(lost) => Err(lost),
        };
        if let Err(begin) = begun {
            log::warn!("retry {retries} cannot begin: {begin}");
            break (error, false);
        }
    };
    if has_savepoint {
        let _ = txn.rollback().await;
    } else {
        // sqlx may have lost count, and send no ROLLBACK. If it sends a second one that the server
        // rejects, the pool closes the connection.
        let _ = txn.execute_unprepared("ROLLBACK").await;
    }
    Err(error)
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[source] DbErr),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN or the commit failed; nothing was committed.
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

/// SQLSTATEs that prove a rollback in answer to a commit: data exceptions (22), violated constraints (23,
/// 44), rollbacks (40; 40003 is unknown), PL/pgSQL errors (P0), failed and idle transactions.
const ROLLED_BACK: [&str; 10] = [
    "22", "23", "40000", "40001", "40002", "40P01", "44", "P0", "25P02", "25P03",
];

/// SQLSTATEs in answer to a rollback if the transaction has ended: no savepoint, on CockroachDB a
/// transaction that RELEASE has committed, no transaction.
const ENDED: [&str; 3] = ["3B001", "25000", "25P01"];

/// The server's last SQLSTATEs on a connection that is dead; `none` stands for an error without one.
const DEAD: [&str; 2] = ["57P", "none"];

fn begins_with(error: &DbErr, sqlstates: &[&str]) -> bool {
    let found = server_error(error).map_or("none", PgDatabaseError::code);
    sqlstates.iter().any(|begin| found.starts_with(begin))
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
async fn begin<E: Error + 'static>(
    db: &DatabaseConnection,
) -> Result<DatabaseTransaction, TransactionError<E>> {
    let mut others = db.get_postgres_connection_pool().size();
    loop {
        let pool = db.clone();
        let task = tokio::spawn(async move {
            let txn = pool.begin().await?;
            txn.execute_unprepared(AFTER_BEGIN).await?;
            Ok(txn)
        });
        let stopped = |error| Err(DbErr::Custom(format!("BEGIN was interrupted: {error}")));
        match task.await.unwrap_or_else(stopped) {
            Ok(txn) => return Ok(txn),
            Err(error @ (DbErr::ConnectionAcquire(_) | DbErr::Conn(_))) => {
                return Err(NoConnection(error));
            }
            // After the database has restarted, each connection of the pool can be dead.
            Err(error) if others > 0 && begins_with(&error, &DEAD) => others -= 1,
            Err(error) => return Err(Database(error)),
        }
    }
}

/// Sends the statement. sqlx may have queued others for nested transactions that were dropped. If the
/// server rejects those, their errors come first, one each time: so it is sent again.
async fn roll_back(txn: &DatabaseTransaction, statement: &str) -> Result<(), DbErr> {
    let mut answer = txn.execute_unprepared(statement).await;
    for _ in 0..8 {
        match &answer {
            Err(error) if !begins_with(error, &["25P01", "none"]) => {
                answer = txn.execute_unprepared(statement).await;
            }
            _ => break,
        }
    }
    answer.map(drop)
}
