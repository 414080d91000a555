//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&mut conn, |txn| transfer_funds(txn, 3, 4, 100))?`
//!
//! Copy this file into your program; besides `diesel` it needs `fastrand` and `thiserror`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. A nested `transaction()` is a savepoint.
//! - `op` makes no schema changes: CockroachDB commits the statements before them.
//! - `op` returns the driver's error, or an error with it as a `source()`: a retry error is found
//!   there. For anyhow: a variant `#[error(transparent)] Other(#[from] anyhow::Error)`.
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

const MAX_RETRIES: u32 = 50;

/// Runs `op` in a SERIALIZABLE transaction and commits; retries if the server asks for it.
/// Afterwards no transaction is open on the connection, or the connection is closed.
///
/// # Errors
///
/// Returns an error if the transaction was rolled back, or if its outcome is not known.
pub fn run_transaction<T, E: Error + 'static>(
    conn: &mut PgConnection,
    mut op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(conn)?;
    let mut retries = 0;
    loop {
        let error = match op(txn.conn) {
            Ok(value) => match txn.commit() {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => TransactionError::Database(error),
                Err(error) => return Err(TransactionError::AmbiguousCommit(error)),
            },
            Err(error) => TransactionError::Operation(error),
        };
        match statements_to_retry(&error) {
            Some(statements) if retries < MAX_RETRIES => {
                txn = txn.restart(statements)?;
                sleep(pause(retries));
                retries += 1;
            }
            _ => return Err(error),
        }
    }
}

/// Returns a random pause: up to 10 ms before the first retry, then 20, 40, 80, 160 and 200 ms.
fn pause(retries: u32) -> Duration {
    let longest = 200.min(10 << retries.min(5));
    Duration::from_micros(fastrand::u64(..=1000 * longest))
}

/// The reason why a transaction did not commit, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError<E: Error + 'static> {
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// The transaction did not begin, or the server rejected the commit: it was rolled back.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] diesel::result::Error),
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
const REBEGIN: &str = "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
/// RELEASE commits on CockroachDB and can return a retry error; after it, COMMIT cannot.
const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";

/// Returns the statements before the next run, if the error asks for a retry.
fn statements_to_retry<E: Error + 'static>(error: &TransactionError<E>) -> Option<&'static str> {
    let (sqlstate, message) = match error {
        TransactionError::Operation(error) => server_error(error)?,
        TransactionError::Database(error) => server_error(error)?,
        _ => return None,
    };
    match sqlstate.as_str() {
        // CockroachDB retries in the same transaction.
        "40001" if message.starts_with("restart transaction") => {
            Some("ROLLBACK TO SAVEPOINT cockroach_restart")
        }
        // PostgreSQL would keep the stale snapshot.
        "40001" | "40P01" => Some(REBEGIN),
        _ => None,
    }
}

/// Returns whether this answer to RELEASE or COMMIT proves that nothing was committed.
fn proves_rollback(error: &diesel::result::Error) -> bool {
    server_error(error).is_some_and(|(sqlstate, _)| match sqlstate.as_str() {
        "40003" => false,
        "25P02" | "25P03" => true,
        other => ["22", "23", "40", "44", "P0"].contains(&&other[..2]),
    })
}

/// Returns SQLSTATE and message of the server's error: this error, or one of its sources.
fn server_error(error: &(dyn Error + 'static)) -> Option<(String, String)> {
    successors(Some(error), |&error| error.source()).find_map(|error| {
        let message = error.to_string();
        // Diesel passes on few SQLSTATEs, and `#[error(transparent)]` hides Diesel's error.
        let known = MESSAGES
            .iter()
            .find(|(begin, _)| message.starts_with(begin));
        let sqlstate = match error.downcast_ref() {
            Some(DatabaseError(Kind::SerializationFailure, _)) => "40001",
            Some(DatabaseError(Kind::UniqueViolation | Kind::ForeignKeyViolation, _)) => "23000",
            Some(DatabaseError(Kind::NotNullViolation | Kind::CheckViolation, _)) => "23000",
            Some(DatabaseError(Kind::RestrictViolation | Kind::ExclusionViolation, _)) => "23000",
            _ => known?.1,
        };
        Some((sqlstate.to_owned(), message))
    })
}

/// The beginnings of the server's messages, each with its SQLSTATE.
const MESSAGES: [(&str, &str); 5] = [
    ("restart transaction", "40001"),
    ("could not serialize access", "40001"),
    ("deadlock detected", "40P01"),
    ("current transaction is aborted", "25P02"),
    ("terminating connection due to idle-in-transaction", "25P03"),
];

/// The transaction. It is rolled back when it is dropped while it is open.
struct Txn<'a> {
    conn: &'a mut PgConnection,
    open: bool,
}

impl<'a> Txn<'a> {
    /// Begins with Diesel's transaction manager, so that a transaction within `op` is a savepoint.
    fn begin(conn: &'a mut PgConnection) -> QueryResult<Self> {
        let begun = AnsiTransactionManager::begin_transaction_sql(conn, BEGIN);
        let open = begun != Err(AlreadyInTransaction);
        let txn = Txn { conn, open };
        begun.map(|()| txn)
    }

    fn commit(&mut self) -> QueryResult<()> {
        self.conn.batch_execute(COMMIT)?;
        self.open = false;
        Ok(())
    }

    fn restart(self, statements: &str) -> QueryResult<Self> {
        if self.conn.batch_execute(statements).is_err() {
            // A commit that failed may have ended the transaction, and then this ROLLBACK fails.
            let _ = self.conn.batch_execute("ROLLBACK");
            AnsiTransactionManager::begin_transaction_sql(self.conn, BEGIN)?;
        }
        Ok(self)
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.conn.batch_execute("ROLLBACK");
        }
    }
}
