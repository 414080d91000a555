//! `run_transaction` runs a transaction, and runs it again if the server asks for a retry.
//!
//! Copy this file into your program; besides `tokio-postgres` it needs `deadpool-postgres`,
//! `fastrand`, `log`, `thiserror` and `tokio`.
//! The protocol: <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

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
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";

/// Runs `op` in a SERIALIZABLE transaction and commits. If the server asks for a retry, runs it again,
/// for up to 30 seconds. Afterwards the pool has no open transaction.
///
/// - `op` can run more than once: avoid side effects outside the database.
/// - `op` reads everything that it depends on: with a value that was read outside, each run would fail.
/// - `op` must not end its transaction: no COMMIT or ROLLBACK as text, no schema change
///   (CockroachDB from 25.1 on commits before it). If it does, it is not run again, and the result
///   is [`AmbiguousCommit`]. `SAVEPOINT` as text is fine. A `run_transaction` in `op` is a
///   transaction of its own, on a second connection; it may wait for the locks of the outer one.
/// - The error of `op` is the driver's error, or has it as a `source()`: a retry error is looked for
///   there. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
/// - `op` can send statements together with `tokio::join!(biased; …)`. It returns the error of the
///   first one that failed, which may ask for a retry; `try_join!` can return a later one.
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
/// # async fn example(pool: deadpool_postgres::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// crdb_tokio_postgres::run_transaction(&pool, async move |txn| {
///     txn.execute("UPDATE accounts SET balance = 0 WHERE id = $1", &[&3_i64]).await
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn run_transaction<T, E: Error + 'static>(
    pool: &Pool,
    mut op: impl AsyncFnMut(&Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(pool).await?;
    let (began, mut retries) = (Instant::now(), 0);
    loop {
        let error = match op(txn.client()).await {
            // On a closed connection, the driver sends no COMMIT.
            Ok(value) => match (txn.client().is_closed(), txn.send(COMMIT).await) {
                (_, Ok(())) => return Ok(value),
                (closed, Err(error)) if closed || begins_with(&error, &ROLLED_BACK) => {
                    Database(error)
                }
                (_, Err(error)) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let retry = retry_error(&error);
        let again = retry.is_some() && began.elapsed() + MAX_PAUSE < RETRY_FOR;
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place =
            again && retries == 0 && retry.is_some_and(|(_, text)| text.starts_with("restart "));
        let answer = txn.send(if in_place { RESTART } else { ROLLBACK }).await;
        // PostgreSQL ends the transaction if COMMIT fails. Otherwise `op` has ended it.
        let by_op = if matches!(error, Operation(_)) {
            &ENDED[..]
        } else {
            &ENDED[..2]
        };
        let answer = match answer {
            Err(answer) if begins_with(&answer, by_op) => {
                log::error!("the transaction ended within op: {error}");
                return Err(AmbiguousCommit(answer));
            }
            answer => answer,
        };
        let Some((sqlstate, message)) = retry else {
            return Err(error);
        };
        if !again {
            let seconds = began.elapsed().as_secs_f32();
            log::warn!("gave up after {retries} retries in {seconds:.1} s: {sqlstate} {message}");
            return Err(error);
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        if in_place && answer.is_ok() {
            continue;
        }
        sleep(MAX_PAUSE.mul_f32(fastrand::f32())).await;
        if let Err(begin) = txn.send(BEGIN).await {
            log::warn!("retry {retries} cannot begin: {begin}");
            return Err(error);
        }
    }
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
    /// BEGIN or the commit failed; nothing was committed.
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
    let is_retry = ["40001", "40P01"].contains(&error.code().code());
    is_retry.then(|| (error.code().code(), error.message()))
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

fn begins_with(error: &tokio_postgres::Error, sqlstates: &[&str]) -> bool {
    let found = error.code().map_or("none", SqlState::code);
    sqlstates.iter().any(|begin| found.starts_with(begin))
}

/// The transaction, on one connection of the pool. If it is dropped while it is open, the connection is
/// closed: after an error or a panic, or when the caller's future is dropped.
struct Txn {
    client: Option<Object>,
    open: bool,
}

impl Txn {
    /// Tries again on another connection: after the database has restarted, each one can be dead.
    async fn begin<E: Error + 'static>(pool: &Pool) -> Result<Txn, TransactionError<E>> {
        let mut others = pool.status().size;
        loop {
            let client = Some(pool.get().await.map_err(NoConnection)?);
            let mut txn = Txn { client, open: true };
            match txn.send(BEGIN).await {
                Ok(()) => return Ok(txn),
                Err(error) if others > 0 && begins_with(&error, &DEAD) => others -= 1,
                Err(error) => return Err(Database(error)),
            }
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it has not been dropped")
    }

    async fn send(&mut self, statement: &str) -> Result<(), tokio_postgres::Error> {
        self.open = true;
        self.client().batch_execute(statement).await?;
        self.open = [BEGIN, RESTART].contains(&statement);
        Ok(())
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        if self.open {
            // Taken out of the pool, the client closes its connection.
            drop(self.client.take().map(Object::take));
        }
    }
}
