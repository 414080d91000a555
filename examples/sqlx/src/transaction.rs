//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `sqlx` it needs `fastrand`, `log`, `thiserror` and
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

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres, Transaction};
use tokio::time::sleep;

use TransactionError::{AmbiguousCommit, Database, NoConnection, Operation};

const MAX_RETRIES: usize = 50;

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
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
    pool: &PgPool,
    mut op: impl AsyncFnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut conn = Conn(Some(pool.acquire().await.map_err(NoConnection)?));
    let mut txn = conn.begin().await.map_err(Database)?;
    let mut retries = 0;
    let result = loop {
        let error = match op(&mut txn).await {
            Ok(value) => match txn.execute(COMMIT).await {
                Ok(_) => break Ok(value),
                Err(error) if proves_rollback(&error) => Database(error),
                Err(error) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let Some((sqlstate, message)) = retry_error(&error) else {
            break Err(error);
        };
        if retries == MAX_RETRIES {
            log::warn!("gave up after {retries} retries: {sqlstate} {message}");
            break Err(error);
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place = retries == 1 && message.starts_with("restart transaction");
        let restarted = in_place && txn.execute(RESTART).await.is_ok();
        if !restarted {
            drop(txn);
            match conn.begin_again().await {
                Ok(begun) => txn = begun,
                Err(_) => return Err(error),
            }
        }
    };
    drop(txn);
    // The ping sends sqlx's ROLLBACK, which ends the locks. After a commit the pool sends both.
    if result.is_ok() || conn.get().ping().await.is_ok() {
        conn.0 = None;
    }
    result
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
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
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

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &sqlx::Error) -> bool {
    // 22 data exception, 23 integrity constraint violation, 40 transaction rollback, 44 WITH CHECK
    // OPTION violation, P0 PL/pgSQL error, 25P02 failed transaction, 25P03 idle transaction.
    let proofs = ["22", "23", "40", "44", "P0", "25P02", "25P03"];
    let sqlstate = error.as_database_error().and_then(DatabaseError::code);
    match sqlstate.as_deref() {
        // The server does not know whether the transaction was committed.
        None | Some("40003") => false,
        Some(code) => proofs.iter().any(|proof| code.starts_with(proof)),
    }
}

/// A connection of the pool. If it is dropped before it is given back, it is closed: after a panic, or
/// when the caller's future is dropped. The pool of sqlx 0.9.0 would hand it on with an open
/// transaction if BEGIN was not awaited to the end (transact-rs/sqlx#4385).
struct Conn(Option<PoolConnection<Postgres>>);

impl Conn {
    /// With sqlx's own `begin_with`, a `begin` in `op` is a savepoint.
    async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        self.get().begin_with(BEGIN).await
    }

    async fn begin_again(&mut self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        // The ping sends the ROLLBACK that sqlx has queued.
        let _ = self.get().ping().await;
        // Random: transactions that failed together must not meet again.
        sleep(Duration::from_micros(fastrand::u64(..=100_000))).await;
        self.begin().await
    }

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
