//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&mut client, |txn| transfer_funds(txn, 3, 4, 100))?`
//!
//! Copy this file into your program; besides `postgres` it needs `fastrand`, `log` and `thiserror`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` reads everything that it depends on: with a value from before, each run fails the same way.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK, and calls neither `transaction()` nor `run_transaction`
//!   with `txn`: the inner commit would commit the outer half. Savepoints are fine.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - The error of `op` is the driver's error, or has it as a `source()`: there a retry error is
//!   found. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::Duration;

use postgres::Client;
use postgres::error::{DbError, SqlState};

use TransactionError::{AmbiguousCommit, Database, Operation};

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
pub fn run_transaction<T, E: Error + 'static>(
    client: &mut Client,
    mut op: impl FnMut(&mut Client) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn { client, open: true };
    txn.client.batch_execute(BEGIN).map_err(Database)?;
    let mut retries = 0;
    loop {
        let error = match op(txn.client) {
            Ok(value) => match txn.commit() {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => Database(error),
                Err(error) => AmbiguousCommit(error),
            },
            Err(error) => Operation(error),
        };
        let Some((sqlstate, message)) = retry_error(&error) else {
            return Err(error);
        };
        if retries == MAX_RETRIES {
            log::warn!("gave up after {retries} retries: {sqlstate} {message}");
            return Err(error);
        }
        retries += 1;
        log::debug!("retry {retries}: {sqlstate} {message}");
        // The first time, restart at once and keep the locks. Then pause outside a transaction:
        // CockroachDB has fixed the read timestamp of an open one, so it would read stale values.
        let in_place = retries == 1 && message.starts_with("restart transaction");
        let restarted = in_place && txn.client.batch_execute(RESTART).is_ok();
        if !restarted && txn.begin_again().is_err() {
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
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
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
    match *error.code() {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            Some((error.code().code(), error.message()))
        }
        _ => None,
    }
}

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &postgres::Error) -> bool {
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

/// The transaction. If it is dropped while it is open, it is rolled back.
struct Txn<'a> {
    client: &'a mut Client,
    open: bool,
}

impl Txn<'_> {
    fn commit(&mut self) -> Result<(), postgres::Error> {
        self.client.batch_execute(COMMIT)?;
        self.open = false;
        Ok(())
    }

    fn begin_again(&mut self) -> Result<(), postgres::Error> {
        // If the commit has ended the transaction, CockroachDB rejects this ROLLBACK.
        let _ = self.client.batch_execute("ROLLBACK");
        // Random: transactions that failed together must not meet again.
        sleep(Duration::from_micros(fastrand::u64(..=100_000)));
        self.client.batch_execute(BEGIN)
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}
