//! `run_transaction` runs a transaction, and runs it again if the server asks for a retry.
//!
//! Copy this file into your program; besides `sqlx` it needs `fastrand`, `log`, `thiserror` and
//! `tokio`.
//! The protocol: <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres};
use tokio::time::sleep;

use TransactionError::{AmbiguousCommit, Database, NoConnection, Operation};

/// No retry is started later than this after the first run began.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Each pause is a random part of this: transactions that failed together must not meet again.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
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
/// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// crdb_sqlx::run_transaction(&pool, async move |txn| {
///     let update = sqlx::query("UPDATE accounts SET balance = 0 WHERE id = $1");
///     update.bind(3_i64).execute(txn).await
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn run_transaction<T, E: Error + 'static>(
    pool: &PgPool,
    mut op: impl AsyncFnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut others = pool.size();
    let mut conn;
    let mut txn = loop {
        conn = Conn(Some(pool.acquire().await.map_err(NoConnection)?));
        // With sqlx's own `begin_with`, a `begin` in `op` is a savepoint.
        let begun = conn.get().begin_with(BEGIN).await;
        match begun {
            Ok(txn) => break txn,
            // After the database has restarted, each connection of the pool can be dead.
            Err(error) if others > 0 && begins_with(&error, &DEAD) => others -= 1,
            Err(error) => return Err(Database(error)),
        }
    };
    let (began, mut retries) = (Instant::now(), 0);
    let (error, has_savepoint) = loop {
        let error = match op(&mut txn).await {
            Ok(value) => match txn.execute(COMMIT).await {
                Ok(_) => {
                    drop(txn);
                    conn.0 = None;
                    return Ok(value);
                }
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
        let answer = roll_back(&mut txn, if anew { ROLLBACK } else { RESTART }).await;
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
        if !txn.is_in_transaction() {
            // sqlx has lost count of nested transactions, and would not end the next one.
            break (error, false);
        }
        sleep(MAX_PAUSE.mul_f32(fastrand::f32())).await;
        if let Err(begin) = txn.execute(BEGIN).await {
            log::warn!("retry {retries} cannot begin: {begin}");
            break (error, false);
        }
    };
    if has_savepoint && txn.rollback().await.is_ok() {
        // Back to the pool. Otherwise the connection is closed.
        conn.0 = None;
    }
    Err(error)
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[source] sqlx::Error),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN or the commit failed; nothing was committed.
    #[error(transparent)]
    Database(sqlx::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] sqlx::Error),
}

/// Returns SQLSTATE and message of an error that asks for a retry. `AmbiguousCommit` has none.
fn retry_error<'a>(error: &'a (dyn Error + 'static)) -> Option<(&'a str, &'a str)> {
    let mut chain = successors(Some(error), |&error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<Box<dyn DatabaseError>>())?;
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    let is_retry = ["40001", "40P01"].contains(&error.code());
    is_retry.then(|| (error.code(), error.message()))
}

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

fn begins_with(error: &sqlx::Error, sqlstates: &[&str]) -> bool {
    let found = error.as_database_error().and_then(DatabaseError::code);
    let found = found.as_deref().unwrap_or("none");
    sqlstates.iter().any(|begin| found.starts_with(begin))
}

/// Sends the statement. sqlx may have queued others for nested transactions that were dropped. If the
/// server rejects those, their errors come first, one each time: so it is sent again.
async fn roll_back(txn: &mut PgConnection, statement: &'static str) -> sqlx::Result<()> {
    let mut answer = txn.execute(statement).await;
    for _ in 0..8 {
        match &answer {
            Err(error) if !begins_with(error, &["25P01", "none"]) => {
                answer = txn.execute(statement).await;
            }
            _ => break,
        }
    }
    answer.map(drop)
}

/// A connection of the pool. If it is dropped before it is given back, it is closed: after a panic, or
/// when the caller's future is dropped. The pool of sqlx 0.9.0 would hand it on with an open
/// transaction if BEGIN was not awaited to the end (transact-rs/sqlx#4385).
struct Conn(Option<PoolConnection<Postgres>>);

impl Conn {
    fn get(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it has not been given back")
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.0 {
            conn.close_on_drop();
        }
    }
}
