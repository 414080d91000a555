//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&mut conn, |txn| transfer_funds(txn, 3, 4, 100))?`
//!
//! Copy this file into your program; besides `diesel` it needs `fastrand`, `log` and `thiserror`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` reads everything that it depends on: with a value from before, each run fails the same way.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. A nested `transaction()` is a savepoint, and a nested
//!   `run_transaction` is an error.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - The error of `op` is the driver's error, or has it as a `source()`: there a retry error is
//!   found. For anyhow, give it a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
//!
//! <https://www.cockroachlabs.com/docs/stable/advanced-client-side-transaction-retries>

use std::error::Error;
use std::iter::successors;
use std::thread::sleep;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection};
use diesel::result::DatabaseErrorKind as Kind;
use diesel::result::Error::{AlreadyInTransaction, DatabaseError};
use diesel::{PgConnection, QueryResult};

use TransactionError::{AmbiguousCommit, Database, Operation};

const MAX_RETRIES: usize = 50;

/// CockroachDB restarts a transaction from the savepoint of this name.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const RESTART: &str = "ROLLBACK TO SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, unless one was open before: that is an error.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub fn run_transaction<T, E: Error + 'static>(
    conn: &mut PgConnection,
    mut op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn { conn, open: false };
    txn.begin().map_err(Database)?;
    let mut retries = 0;
    loop {
        let error = match op(txn.conn) {
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
        let restarted = in_place && txn.conn.batch_execute(RESTART).is_ok();
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

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &diesel::result::Error) -> bool {
    let DatabaseError(kind, details) = error else {
        return false;
    };
    // Diesel passes on no other SQLSTATE.
    let messages = [
        "deadlock detected",                                 // 40P01
        "current transaction is aborted",                    // 25P02
        "terminating connection due to idle-in-transaction", // 25P03
    ];
    match kind {
        Kind::SerializationFailure => true,
        Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::NotNullViolation => true,
        Kind::CheckViolation | Kind::RestrictViolation | Kind::ExclusionViolation => true,
        _ => messages
            .iter()
            .any(|begin| details.message().starts_with(begin)),
    }
}

/// The transaction. If it is dropped while it is open, it is rolled back.
struct Txn<'a> {
    conn: &'a mut PgConnection,
    open: bool,
}

impl Txn<'_> {
    fn begin(&mut self) -> QueryResult<()> {
        // Diesel counts the transaction, so that a transaction within `op` is a savepoint.
        let begun = AnsiTransactionManager::begin_transaction_sql(self.conn, BEGIN);
        self.open = begun != Err(AlreadyInTransaction);
        begun
    }

    fn commit(&mut self) -> QueryResult<()> {
        self.conn.batch_execute(COMMIT)?;
        self.open = false;
        Ok(())
    }

    fn begin_again(&mut self) -> QueryResult<()> {
        // If the commit has ended the transaction, CockroachDB rejects this ROLLBACK.
        let _ = self.conn.batch_execute("ROLLBACK");
        // Random: transactions that failed together must not meet again.
        sleep(Duration::from_micros(fastrand::u64(..=100_000)));
        self.begin()
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.conn.batch_execute("ROLLBACK");
        }
    }
}
