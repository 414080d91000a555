//! `run_transaction` runs a transaction, and runs it again if the server asks for a retry.
//!
//! Copy this file into your program; besides `postgres` it needs `fastrand`, `log` and `thiserror`.
//! The protocol: <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::{DbError, SqlState};

use TransactionError::{AmbiguousCommit, Database, Operation};

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
/// for up to 30 seconds. Afterwards no transaction is open on the connection, or it is closed.
///
/// - `op` can run more than once: avoid side effects outside the database.
/// - `op` reads everything that it depends on: with a value that was read outside, each run would fail.
/// - `op` must not end its transaction: no COMMIT or ROLLBACK as text, no `transaction()` or
///   `run_transaction` on its argument, no schema change (CockroachDB from 25.1 on commits before
///   it). If it does, it is not run again, and the result is [`AmbiguousCommit`]. `SAVEPOINT` as
///   text is fine.
/// - The error of `op` is the driver's error, or has it as a `source()`: a retry error is looked for
///   there. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
/// - For a time limit, let `op` return an error of its own when the time is over.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back (`Operation`, `Database`), or if its outcome
/// is not known (`AmbiguousCommit`). After the last retry, the error is that of the last run.
///
/// # Panics
///
/// Panics if `op` does, and rolls back.
///
/// # Examples
///
/// ```no_run
/// # fn example(client: &mut postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// crdb_postgres::run_transaction(client, |txn| {
///     txn.execute("UPDATE accounts SET balance = 0 WHERE id = $1", &[&3_i64])
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn run_transaction<T, E: Error + 'static>(
    client: &mut Client,
    mut op: impl FnMut(&mut Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn { client, open: true };
    txn.send(BEGIN).map_err(Database)?;
    let (began, mut retries) = (Instant::now(), 0);
    loop {
        let error = match op(txn.client) {
            // On a closed connection, the driver sends no COMMIT.
            Ok(value) => match (txn.client.is_closed(), txn.send(COMMIT)) {
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
        let answer = txn.send(if in_place { RESTART } else { ROLLBACK });
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
        sleep(MAX_PAUSE.mul_f32(fastrand::f32()));
        if let Err(begin) = txn.send(BEGIN) {
            log::warn!("retry {retries} cannot begin: {begin}");
            return Err(error);
        }
    }
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN or the commit failed; nothing was committed.
    #[error(transparent)]
    Database(postgres::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] postgres::Error),
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

fn begins_with(error: &postgres::Error, sqlstates: &[&str]) -> bool {
    let found = error.code().map_or("", SqlState::code);
    sqlstates.iter().any(|begin| found.starts_with(begin))
}

/// The transaction. If it is dropped while it is open, it is rolled back.
struct Txn<'a> {
    client: &'a mut Client,
    open: bool,
}

impl Txn<'_> {
    fn send(&mut self, statement: &str) -> Result<(), postgres::Error> {
        self.open = true;
        self.client.batch_execute(statement)?;
        self.open = [BEGIN, RESTART].contains(&statement);
        Ok(())
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}
