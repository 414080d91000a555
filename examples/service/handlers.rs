//! The requests and their answers.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use crdb_tokio_postgres::run_transaction;
use deadpool_postgres::Pool;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::task::TaskTracker;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::Level;

use crate::problem::Problem;
use crate::transfer::{self, Transfer};

/// Returns the service. The tracker counts the requests that run; once it is closed, new requests are
/// refused.
pub fn service(pool: Pool, running: TaskTracker) -> Router {
    Router::new()
        .route("/transfers", post(transfer))
        .route("/accounts/{id}", get(account))
        .route("/health", get(health))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the path has another method",
            )
        })
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn_with_state(running.clone(), limit))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                .on_failure(()),
        )
        .with_state(Shared { pool, running })
}

/// What the requests share.
#[derive(Clone)]
struct Shared {
    pool: Pool,
    running: TaskTracker,
}

/// Refuses new requests during the shutdown, and ends a request after 10 seconds.
async fn limit(State(running): State<TaskTracker>, request: Request, next: Next) -> Response {
    if running.is_closed() {
        return Problem::try_again("the service is stopping").into_response();
    }
    let answer = timeout(Duration::from_secs(10), next.run(request));
    let answer = running.track_future(answer).await;
    answer.unwrap_or_else(|_| Problem::try_again("no answer after 10 s").into_response())
}

async fn transfer(
    State(Shared { pool, running }): State<Shared>,
    headers: HeaderMap,
    request: Result<Json<Transfer>, JsonRejection>,
) -> Result<Response, Problem> {
    let key = headers.get("Idempotency-Key");
    let key = key.and_then(|key| key.to_str().ok());
    let is_valid = |key: &&str| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let Some(key) = key.filter(is_valid).map(str::to_owned) else {
        let detail = "the header Idempotency-Key must have 1 to 255 visible ASCII characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let Json(request) = request.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if request.amount <= 0 {
        return Err(invalid("the amount is not positive"));
    }
    let op = async move |txn: &Client| transfer::transfer(txn, &key, request).await;
    // In a task of its own: it keeps its connection of the pool even if the client has gone.
    let transaction = running.spawn(async move { run_transaction(&pool, op).await });
    let answer = transaction.await.map_err(Problem::try_again)?;
    let answer = answer.map_err(|error| Problem::try_again(anyhow::Error::from(error)))?;
    let answer = answer.ok_or(invalid("the Idempotency-Key was used for another transfer"))?;
    match StatusCode::from_u16(answer.status as u16) {
        Ok(StatusCode::OK) => {
            let json = [("Content-Type", "application/json")];
            Ok((json, answer.text).into_response())
        }
        Ok(status) => Err(Problem::new(status, answer.text)),
        Err(error) => Err(Problem::try_again(error)),
    }
}

async fn account(
    State(Shared { pool, .. }): State<Shared>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let balance = transfer::balance(&pool, id).await;
    let balance = balance.map_err(Problem::try_again)?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no account {id}"));
    let balance = balance.ok_or_else(missing)?.to_string();
    Ok(Json(json!({ "id": id.to_string(), "balance": balance })))
}

/// Answers 200 if the database answers within a second. A load balancer then sends requests.
async fn health(State(Shared { pool, .. }): State<Shared>) -> Result<&'static str, Problem> {
    let ask = async { anyhow::Ok(pool.get().await?.batch_execute("SELECT 1").await?) };
    match timeout(Duration::from_secs(1), ask).await {
        Ok(Ok(())) => Ok("ok\n"),
        _ => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer, or all connections are in use",
        )),
    }
}
