//! [`Problem`]: an answer that is an error.

use std::error::Error;
use std::fmt;
use std::io;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use crdb_tokio_postgres::TransactionError;
use deadpool_postgres::PoolError;
use serde_json::json;
use tokio_postgres::error::SqlState;

/// An error as `application/problem+json` (RFC 9457).
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem { status, detail }
    }

    /// Nothing was done. The same request may succeed later.
    pub fn not_done(reason: impl fmt::Display) -> Problem {
        let detail = format!("Nothing was done: {reason}. Send the request again.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The commit got no answer. The reason is logged.
    pub fn unknown(reason: impl fmt::Display) -> Problem {
        tracing::error!("the outcome is not known: {reason:#}");
        metrics::counter!("ambiguous_commits_total").increment(1);
        let detail = "The outcome is not known. Send the request again: with the same \
                      Idempotency-Key, a transfer is made once.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Nothing was done, and the same request will fail again. The reason is logged.
    pub fn broken(reason: impl fmt::Display) -> Problem {
        tracing::error!("a repetition cannot succeed: {reason:#}");
        let detail = "Nothing was done, and the same request will fail again. The service's log has \
                      the reason.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

/// The reason why `op` did not finish.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    #[error("the request's time is over")]
    Late,
}

impl From<TransactionError<OpError>> for Problem {
    fn from(error: TransactionError<OpError>) -> Problem {
        use TransactionError::{AmbiguousCommit, Database, NoConnection, Operation};
        match error {
            AmbiguousCommit(error) => Problem::unknown(anyhow::Error::from(error)),
            NoConnection(error) => error.into(),
            Operation(OpError::Late) => Problem::not_done(OpError::Late),
            Operation(OpError::Database(error)) | Database(error) => error.into(),
        }
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Problem {
        tracing::warn!("no connection: {:#}", anyhow::Error::from(error));
        Problem::not_done("there is no free connection to the database")
    }
}

/// For a statement that failed: its transaction was rolled back.
impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Problem {
        // 08 connection, 25 state of the transaction, 40 rollback, 53 resources, 55 locks,
        // 57 intervention of an operator and time limits, 58 system, XX internal.
        let classes = ["08", "25", "40", "53", "55", "57", "58", "XX"];
        let can_pass = match error.code().map(SqlState::code) {
            Some(code) => classes.contains(&&code[..2]),
            None => {
                error.is_closed()
                    || error
                        .source()
                        .is_some_and(|source| source.is::<io::Error>())
            }
        };
        let reason = anyhow::Error::from(error);
        if !can_pass {
            return Problem::broken(reason);
        }
        tracing::warn!("nothing was done: {reason:#}");
        Problem::not_done("the database rejected it, is stopping, or waited too long for a lock")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, detail } = self;
        let title = status.canonical_reason();
        let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
        let headers = [("Content-Type", "application/problem+json")];
        let mut response = (status, headers, body.to_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert("Retry-After", 1.into());
        }
        response
    }
}
