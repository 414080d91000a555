//! The requests and their answers.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use crdb_tokio_postgres::run_transaction;
use deadpool_postgres::Pool;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::Client;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::Level;

use crate::problem::Problem;
use crate::transfer::{self, Transfer};

/// What the requests share.
#[derive(Clone)]
struct Shared {
    pool: Pool,
    /// True from the beginning of the shutdown on.
    stopping: watch::Receiver<bool>,
}

/// Returns the service.
pub fn service(pool: Pool, stopping: watch::Receiver<bool>) -> Router {
    let status = |status, detail| async move { Problem::new(status, detail) };
    Router::new()
        .route("/transfers", post(transfer))
        .route("/accounts/{id}", get(account))
        .route("/health", get(health))
        .fallback(move || status(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(move || {
            status(
                StatusCode::METHOD_NOT_ALLOWED,
                "the path has another method",
            )
        })
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn(limit_time))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                .on_failure(()),
        )
        .with_state(Shared { pool, stopping })
}

/// After 10 seconds the request is dropped. A transaction that waits for its commit then has an
/// unknown outcome; the key makes it safe to send the request again.
async fn limit_time(request: Request, next: Next) -> Response {
    match timeout(Duration::from_secs(10), next.run(request)).await {
        Ok(response) => response,
        Err(elapsed) => Problem::try_again(&elapsed).into_response(),
    }
}

/// The body of a transfer.
#[derive(serde::Deserialize)]
struct Body {
    #[serde(deserialize_with = "int8")]
    from: i64,
    #[serde(deserialize_with = "int8")]
    to: i64,
    #[serde(deserialize_with = "int8")]
    amount: i64,
}

/// Reads a number, or its text: JavaScript has no exact numbers above 2^53.
fn int8<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| D::Error::custom("expected a whole number of 64 bits"))
}

async fn transfer(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Json<Body>, JsonRejection>,
) -> Result<Response, Problem> {
    let key = headers.get("Idempotency-Key").map(HeaderValue::as_bytes);
    let is_valid =
        |key: &&[u8]| (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    let Some(key) = key
        .filter(is_valid)
        .map(|key| String::from_utf8_lossy(key).into_owned())
    else {
        let detail = "the header Idempotency-Key must have 1 to 255 visible ASCII characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let Json(Body { from, to, amount }) = body;
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if amount <= 0 {
        return Err(invalid("the amount is not positive"));
    }
    let request = Transfer { from, to, amount };
    let op = async move |txn: &Client| transfer::transfer(txn, &key, request).await;
    let answer = run_transaction(&shared.pool, op).await;
    let answer = answer.map_err(|error| Problem::try_again(&error))?;
    let answer = answer.ok_or(invalid("the Idempotency-Key was used for another transfer"))?;
    match StatusCode::from_u16(answer.status as u16) {
        Ok(StatusCode::OK) => {
            let json = [("Content-Type", "application/json")];
            Ok((json, format!(r#"{{"balances": {}}}"#, answer.text)).into_response())
        }
        status => Err(Problem::new(status.unwrap_or_default(), answer.text)),
    }
}

async fn account(
    State(shared): State<Shared>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let client = shared
        .pool
        .get()
        .await
        .map_err(|error| Problem::try_again(&error))?;
    let balance = transfer::balance(&client, id).await;
    match balance.map_err(|error| Problem::try_again(&error))? {
        Some(balance) => {
            let body = json!({ "id": id.to_string(), "balance": balance.to_string() });
            Ok(Json(body).into_response())
        }
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no account {id}"),
        )),
    }
}

/// Answers 200 if the database answers within a second. A load balancer then sends requests.
async fn health(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    let ask = async { anyhow::Ok(shared.pool.get().await?.batch_execute("SELECT 1").await?) };
    let detail = match timeout(Duration::from_secs(1), ask).await {
        _ if *shared.stopping.borrow() => "the service is stopping",
        Ok(Ok(())) => return Ok("ok\n"),
        _ => "the database does not answer",
    };
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
}
