//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&pool, async move |txn| transfer_funds(txn, 3, 4, 100).await).await?`
//!
//! Copy this file into your program; besides `tokio-postgres` it needs `deadpool-postgres`,
//! `fastrand`, `thiserror` and `tokio`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. Savepoints are fine.
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
use tokio_postgres::error::DbError;

use TransactionError::{AmbiguousCommit, Database, Operation};

const MAX_RETRIES: usize = 50;

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const REBEGIN: &str = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
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
    let mut txn = Txn::begin(pool.get().await?).await?;
    let mut retries = 0;
    loop {
        let (restart, error) = match op(txn.client()).await {
            Ok(value) => match txn.commit().await {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => (restart_sql(&error), Database(error)),
                Err(error) => return Err(AmbiguousCommit(error)),
            },
            Err(error) => (restart_sql(&error), Operation(error)),
        };
        match restart {
            Some(sql) if retries < MAX_RETRIES => txn.restart(sql).await?,
            _ => {
                txn.rollback().await;
                return Err(error);
            }
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
    /// The pool has no connection; `op` did not run.
    #[error("there is no connection")]
    NoConnection(#[from] PoolError),
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] tokio_postgres::Error),
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
fn proves_rollback(error: &tokio_postgres::Error) -> bool {
    let proofs = ["22", "23", "40", "44", "P0", "25P02", "25P03"];
    // 40003: the server does not know whether the transaction was committed.
    server_error(error).is_some_and(|(sqlstate, _)| {
        sqlstate != "40003" && proofs.iter().any(|proof| sqlstate.starts_with(proof))
    })
}

/// Returns SQLSTATE and message of the server's error: this error, or one of its sources.
fn server_error(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    let mut chain = successors(Some(error), |&error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<DbError>())?;
    Some((error.code().code().to_owned(), error.message().to_owned()))
}

/// The transaction, on one connection of the pool. If it is dropped while it is open, the connection
/// is closed: after a panic, or when the caller's future is dropped.
struct Txn {
    client: Option<Object>,
}

impl Txn {
    async fn begin(client: Object) -> Result<Self, tokio_postgres::Error> {
        let client = Some(client);
        let txn = Txn { client };
        txn.client().batch_execute(BEGIN).await?;
        Ok(txn)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the transaction is open")
    }

    async fn commit(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client().batch_execute(COMMIT).await?;
        // Back to the pool.
        self.client = None;
        Ok(())
    }

    async fn restart(&mut self, sql: &str) -> Result<(), tokio_postgres::Error> {
        if self.client().batch_execute(sql).await.is_err() {
            // The commit has ended the transaction: on CockroachDB, this ROLLBACK fails.
            let _ = self.client().batch_execute("ROLLBACK").await;
            self.client().batch_execute(BEGIN).await?;
        }
        Ok(())
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
