//! [`Problem`]: an answer that is an error.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error as `application/problem+json` (RFC 9457).
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem { status, detail }
    }

    /// The outcome is not known, or there is no connection. The reason is logged.
    pub fn try_again(reason: impl fmt::Display) -> Problem {
        tracing::warn!("503: {reason:#}");
        let detail = "There is no answer, so the outcome is not known. Send the request again: with \
                      the same Idempotency-Key, a transfer is made once.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
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
