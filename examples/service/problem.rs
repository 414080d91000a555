//! [`Problem`]: an answer that is an error.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use crdb_tokio_postgres::TransactionError;
use serde_json::json;

/// The HTTP status and the detail of an `application/problem+json` (RFC 9457).
pub struct Problem(u16, String);

impl Problem {
    pub fn new(status: u16, detail: impl Into<String>) -> Problem {
        Problem(status, detail.into())
    }

    /// Nothing was done, and the same request may succeed later.
    pub fn not_done(reason: &str) -> Problem {
        let detail = format!("Nothing was done: {reason}. Send the request again.");
        Problem::new(503, detail)
    }

    /// The commit got no answer.
    pub fn unknown(reason: impl fmt::Display) -> Problem {
        tracing::error!("the outcome is not known: {reason:#}");
        metrics::counter!("ambiguous_commits_total").increment(1);
        let detail = "The outcome is not known. Send the request again: with the same \
                      Idempotency-Key, a transfer is made once.";
        Problem::new(503, detail)
    }

    /// Nothing was done, and the same request will fail again.
    pub fn broken(reason: impl fmt::Display) -> Problem {
        tracing::error!("{reason:#}");
        let detail = "Nothing was done. The same request will fail again: see the log.";
        Problem::new(500, detail)
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
        let can_pass = match &error {
            AmbiguousCommit(_) => return Problem::unknown(anyhow::Error::from(error)),
            NoConnection(_) | Operation(OpError::Late) => true,
            Operation(OpError::Database(error)) | Database(error) => match error.code() {
                Some(code) => CAN_PASS.contains(&&code.code()[..2]),
                None => error.is_closed(),
            },
        };
        if !can_pass {
            return Problem::broken(anyhow::Error::from(error));
        }
        tracing::warn!("nothing was done: {:#}", anyhow::Error::from(error));
        Problem::not_done("the database cannot be reached, or is too slow")
    }
}

/// The SQLSTATEs of these classes may not come again: connection, state of the transaction, conflict,
/// resources, lock, operator and time limit, system, internal.
const CAN_PASS: [&str; 8] = ["08", "25", "40", "53", "55", "57", "58", "XX"];

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem(status, detail) = self;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = status.canonical_reason();
        let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
        let json = [("Content-Type", "application/problem+json")];
        let retry = (status == 503).then_some([("Retry-After", "1")]);
        (status, json, retry, body.to_string()).into_response()
    }
}
