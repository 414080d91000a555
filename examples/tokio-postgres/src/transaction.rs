//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `tokio-postgres` it needs `deadpool-postgres`,
//! `fastrand`, `log`, `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` reads everything that it depends on: with a value from before, each run fails the same way.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. Savepoints are fine. A `run_transaction` inside it is a
//!   transaction of its own: it needs a second connection, and may wait for the locks of the outer one.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - The error of `op` is the driver's error, or has it as a `source()`: there a retry error is
//!   found. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//! - `op` can send statements together with `tokio::join!(biased; …)`. It returns the error of the
//!   first one that failed, which may ask for a retry; `try_join!` can return a later one.
//! - `op` is `async move` and owns what it captures (no references), so that the future can be
//!   spawned.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

use TransactionError::{AmbiguousCommit, Database, NoConnection, Operation};

const MAX_RETRIES: usize = 50;

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const RESTART: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub async fn run_transaction<T, E: Error + 'static>(
    pool: &Pool,
    mut op: impl AsyncFnMut(&Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let client = Some(pool.get().await.map_err(NoConnection)?);
    let mut txn = Txn { client };
    txn.client().batch_execute(BEGIN).await.map_err(Database)?;
    let mut retries = 0;
    let error = loop {
        let error = match op(txn.client()).await {
            Ok(value) => match txn.commit().await {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => Database(error),
                Err(error) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let Some((sqlstate, message)) = retry_error(&error) else {
            break error;
        };
        if retries == MAX_RETRIES {
            log::warn!("gave up after {retries} retries: {sqlstate} {message}");
            break error;
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place = retries == 1 && message.starts_with("restart transaction");
        let restarted = in_place && txn.client().batch_execute(RESTART).await.is_ok();
        if !restarted && txn.begin_again().await.is_err() {
            break error;
        }
    };
    txn.rollback().await;
    Err(error)
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[source] PoolError),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
    #[error(transparent)]
    Database(tokio_postgres::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] tokio_postgres::Error),
}

/// Returns SQLSTATE and message of an error that asks for a retry. `AmbiguousCommit` has none.
fn retry_error<'a>(error: &'a (dyn Error + 'static)) -> Option<(&'a str, &'a str)> {
    let mut chain = successors(Some(error), |&error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<DbError>())?;
    match *error.code() {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            Some((error.code().code(), error.message()))
        }
        _ => None,
    }
}

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &tokio_postgres::Error) -> bool {
    // 22 data exception, 23 integrity constraint violation, 40 transaction rollback, 44 WITH CHECK
    // OPTION violation, P0 PL/pgSQL error.
    let classes = ["22", "23", "40", "44", "P0"];
    match error.code() {
        // The server does not know whether the transaction was committed.
        None | Some(&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN) => false,
        Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => true,
        Some(&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) => true,
        Some(code) => classes.iter().any(|class| code.code().starts_with(class)),
    }
}

/// The transaction, on one connection of the pool. If it is dropped while it has the client, the
/// connection is closed: after a panic, or when the caller's future is dropped.
struct Txn {
    client: Option<Object>,
}

impl Txn {
    fn client(&self) -> &Client {
        self.client.as_ref().expect("the transaction has not ended")
    }

    async fn commit(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client().batch_execute(COMMIT).await?;
        // Back to the pool.
        self.client = None;
        Ok(())
    }

    async fn begin_again(&mut self) -> Result<(), tokio_postgres::Error> {
        // If the commit has ended the transaction, CockroachDB rejects this ROLLBACK.
        let _ = self.client().batch_execute("ROLLBACK").await;
        // Random: transactions that failed together must not meet again.
        sleep(Duration::from_micros(fastrand::u64(..=100_000))).await;
        self.client().batch_execute(BEGIN).await
    }

    async fn rollback(&mut self) {
        if self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.client = None;
        }
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        // Taken out of the pool, the client closes its connection.
        drop(self.client.take().map(Object::take));
    }
}
