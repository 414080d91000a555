//! `run_transaction` runs a transaction, and runs it again if the server asks for a retry.
//!
//! Copy this file into your program; besides `diesel` it needs `fastrand`, `log` and `thiserror`.
//! The protocol: <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection};
use diesel::result::DatabaseErrorKind as Kind;
use diesel::result::Error::{AlreadyInTransaction, DatabaseError};
use diesel::{PgConnection, QueryResult};

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
/// - `op` must not end its transaction: no COMMIT or ROLLBACK as text, no schema change
///   (CockroachDB from 25.1 on commits before it). If it does, it is not run again, and the result
///   is [`AmbiguousCommit`]. A `transaction()` in `op` is a savepoint; a `run_transaction` in `op`
///   returns an error.
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
/// # use diesel::{RunQueryDsl, sql_query};
/// # fn example(conn: &mut diesel::PgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// crdb_diesel::run_transaction(conn, |txn| {
///     sql_query("UPDATE accounts SET balance = 0 WHERE id = 3").execute(txn)
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn run_transaction<T, E: Error + 'static>(
    conn: &mut PgConnection,
    mut op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn { conn, open: false };
    txn.send(BEGIN).map_err(Database)?;
    let (began, mut retries) = (Instant::now(), 0);
    loop {
        let error = match op(txn.conn) {
            Ok(value) => match (txn.is_closed(), txn.send(COMMIT)) {
                (_, Ok(())) => return Ok(value),
                (closed, Err(error)) if closed || proves_rollback(&error) => Database(error),
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
        let is_over = |answer: &_| match error {
            Operation(_) => matches!(answer, DatabaseError(Kind::Unknown, _)),
            _ => begins_with(answer, &ENDED),
        };
        let answer = match answer {
            Err(answer) if is_over(&answer) => {
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
    Database(diesel::result::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] diesel::result::Error),
}

/// Returns SQLSTATE and message of an error that asks for a retry.
fn retry_error<E: Error + 'static>(error: &TransactionError<E>) -> Option<(&str, &str)> {
    let error: &(dyn Error + 'static) = match error {
        Operation(error) => error,
        Database(error) => error,
        AmbiguousCommit(_) => return None,
    };
    successors(Some(error), |&error| error.source()).find_map(|error| {
        if let Some(DatabaseError(Kind::SerializationFailure, details)) = error.downcast_ref() {
            return Some(("40001", details.message()));
        }
        // Diesel has no kind for a deadlock, and `#[error(transparent)]` hides Diesel's error.
        let text = error.to_string();
        let mut messages = RETRY_MESSAGES.into_iter();
        messages.find(|(_, message)| text.starts_with(message))
    })
}

/// The beginnings of the messages of retry errors, each with its SQLSTATE.
const RETRY_MESSAGES: [(&str, &str); 3] = [
    ("40001", "restart transaction"),
    ("40001", "could not serialize access"),
    ("40P01", "deadlock detected"),
];

/// The answers to a commit that prove a rollback, apart from Diesel's kinds: 40P01, 25P02 and 25P03.
const ROLLED_BACK: [&str; 3] = [
    "deadlock detected",
    "current transaction is aborted",
    "terminating connection due to idle-in-transaction",
];

/// The answers to a rollback if `op` has ended the transaction: 3B001, and on CockroachDB 25000.
const ENDED: [&str; 2] = [
    "savepoint \"cockroach_restart\" does not exist",
    "current transaction is committed",
];

fn begins_with(error: &diesel::result::Error, messages: &[&str]) -> bool {
    let found = error.to_string();
    messages.iter().any(|begin| found.starts_with(begin))
}

/// Returns whether this answer to a commit proves a rollback. Diesel passes on no SQLSTATE, but a kind
/// for 40001 and for those that begin with 23.
fn proves_rollback(error: &diesel::result::Error) -> bool {
    match error {
        DatabaseError(Kind::SerializationFailure | Kind::UniqueViolation, _) => true,
        DatabaseError(Kind::ForeignKeyViolation | Kind::NotNullViolation, _) => true,
        DatabaseError(Kind::CheckViolation | Kind::RestrictViolation, _) => true,
        DatabaseError(Kind::ExclusionViolation, _) => true,
        error => begins_with(error, &ROLLED_BACK),
    }
}

/// The transaction. If it is dropped while it is open, it is rolled back.
struct Txn<'a> {
    conn: &'a mut PgConnection,
    open: bool,
}

impl Txn<'_> {
    fn send(&mut self, statement: &str) -> QueryResult<()> {
        if statement == BEGIN {
            // Diesel counts the transaction, so that a transaction within `op` is a savepoint.
            let begun = AnsiTransactionManager::begin_transaction_sql(self.conn, BEGIN);
            self.open = begun != Err(AlreadyInTransaction);
            return begun;
        }
        self.open = true;
        self.conn.batch_execute(statement)?;
        self.open = statement == RESTART;
        Ok(())
    }

    /// Returns whether the server has closed the connection.
    fn is_closed(&mut self) -> bool {
        // Reads what has arrived: first the server's last message, then the end of the connection. A
        // notification of PostgreSQL is lost: LISTEN on another connection.
        (0..2).any(|_| matches!(self.conn.notifications_iter().next(), Some(Err(_))))
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.conn.batch_execute("ROLLBACK");
        }
    }
}
