//! `run_transaction` runs a transaction, and runs it again when the server asks for a retry.
//!
//! `run_transaction(&mut conn, |txn| transfer_funds(txn, 3, 4, 100))?`
//!
//! Copy this file into your program; besides `diesel` it needs `fastrand` and `thiserror`.
//! - `op` may run more than once: avoid side effects outside the database.
//! - `op` sends no BEGIN, COMMIT or ROLLBACK. A nested `transaction()` is a savepoint.
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
pub fn run_transaction<T, E: Error + 'static>(
    conn: &mut PgConnection,
    mut op: impl FnMut(&mut PgConnection) -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut txn = Txn::begin(conn)?;
    let mut retries = 0;
    loop {
        let (restart, error) = match op(txn.conn) {
            Ok(value) => match txn.commit() {
                Ok(()) => return Ok(value),
                Err(error) if proves_rollback(&error) => (restart_sql(&error), Database(error)),
                Err(error) => return Err(AmbiguousCommit(error)),
            },
            Err(error) => (restart_sql(&error), Operation(error)),
        };
        match restart {
            Some(sql) if retries < MAX_RETRIES => txn.restart(sql)?,
            _ => return Err(error),
        }
        sleep(pause(retries));
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
    /// `op` failed; the transaction was rolled back.
    #[error(transparent)]
    Operation(E),
    /// BEGIN failed, or the server rejected the commit: the transaction was rolled back.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    /// The transaction may or may not have been committed: check before you run it again.
    #[error("the transaction may or may not have been committed")]
    AmbiguousCommit(#[source] diesel::result::Error),
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
fn proves_rollback(error: &diesel::result::Error) -> bool {
    let proofs = ["22", "23", "40", "44", "P0", "25P02", "25P03"];
    // 40003: the server does not know whether the transaction was committed.
    server_error(error).is_some_and(|(sqlstate, _)| {
        sqlstate != "40003" && proofs.iter().any(|proof| sqlstate.starts_with(proof))
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

/// The transaction. If it is dropped while it is open, it is rolled back.
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

    fn restart(&mut self, sql: &str) -> QueryResult<()> {
        // Diesel must count a new transaction after a commit that has ended the first one.
        match AnsiTransactionManager::begin_transaction_sql(self.conn, sql) {
            Err(AlreadyInTransaction) => self.conn.batch_execute(sql),
            restarted => restarted,
        }
        .or_else(|_| {
            // The commit has ended the transaction: on CockroachDB, this ROLLBACK fails.
            let _ = self.conn.batch_execute("ROLLBACK");
            AnsiTransactionManager::begin_transaction_sql(self.conn, BEGIN)
        })
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.conn.batch_execute("ROLLBACK");
        }
    }
}
