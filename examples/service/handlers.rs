//! The requests and their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::{Level, Span};

use crate::limits::Shared;
use crate::problem::Problem;
use crate::transfer::{self, Transfer};

type App = State<Arc<Shared>>;

/// In bytes.
const MAX_BODY: usize = 16 * 1024;

/// Returns the service.
pub fn service(shared: Arc<Shared>) -> Router {
    let span = DefaultMakeSpan::new().level(Level::INFO);
    let trace = TraceLayer::new_for_http().on_response(record);
    let other_method = async || Problem::new(405, "the path has another method");
    Router::new()
        .route("/transfers", post(transfer))
        .route("/accounts/{id}", get(account))
        .fallback(async || Problem::new(404, "there is no such path"))
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(trace.make_span_with(span).on_failure(()))
        // Machines ask often: this is neither logged nor counted.
        .route("/health/live", get("live\n"))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(other_method)
        .with_state(shared)
}

/// Logs and counts an answer.
fn record(response: &Response, time: Duration, _: &Span) {
    let status = response.status().as_u16();
    tracing::info!(status, ?time, "answered");
    metrics::counter!("http_requests_total", "status" => status.to_string()).increment(1);
    metrics::histogram!("http_request_duration_seconds").record(time);
}

async fn transfer(State(shared): App, request: Request) -> Result<Response, Problem> {
    let no_key = "one header Idempotency-Key is needed: a quoted string without \\, or letters, \
                  digits and -._~:/+=, of 1 to 255 characters";
    let key = key(request.headers()).ok_or(Problem::new(400, no_key))?;
    let body = timeout(shared.client_timeout, body(request)).await;
    let transfer = body.map_err(|_| Problem::new(408, "the body did not arrive in time"))??;
    let work = |pool, deadline| transfer::execute(pool, deadline, key, transfer);
    let other = Problem::new(422, "the Idempotency-Key was used for another transfer");
    match shared.run(work).await?.ok_or(other)? {
        (200, json) => Ok(([("Content-Type", "application/json")], json).into_response()),
        (status, detail) => Err(Problem::new(status as u16, detail)),
    }
}

/// Returns the key: the content of a quoted string, as in the IETF's draft, or a token. Returns `None`
/// if the header could be read in two ways, or if there is not exactly one.
fn key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("Idempotency-Key").iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let value = value.to_str().ok()?;
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let is_valid = |c: char| match quoted {
        Some(_) => (c == ' ' || c.is_ascii_graphic()) && !"\"\\".contains(c),
        None => c.is_ascii_alphanumeric() || "-._~:/+=".contains(c),
    };
    let key = quoted.unwrap_or(value);
    let fits = (1..=255).contains(&key.len()) && key.chars().all(is_valid);
    fits.then(|| key.to_owned())
}

/// Reads the transfer that a client requests.
async fn body(request: Request) -> Result<Transfer, Problem> {
    let refuse = |error: JsonRejection| Problem::new(error.status().as_u16(), error.body_text());
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(Problem::new(413, "length limit exceeded"));
    }
    let json = Json::<Box<RawValue>>::from_request(request, &()).await;
    let Json(json) = json.map_err(refuse)?;
    // An array would be read as the fields in their order.
    if !json.get().starts_with('{') {
        return Err(Problem::new(422, "the body is not an object"));
    }
    let Json(transfer) = Json::<Transfer>::from_bytes(json.get().as_bytes()).map_err(refuse)?;
    if transfer.amount <= 0 {
        return Err(Problem::new(422, "the amount is not positive"));
    }
    Ok(transfer)
}

async fn account(
    State(shared): App,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(400, error.body_text()))?;
    let work = |pool, deadline| transfer::balance(pool, deadline, id);
    let missing = Problem::new(404, format!("there is no account {id}"));
    let balance = shared.run(work).await?.ok_or(missing)?.to_string();
    Ok(Json(json!({ "id": id.to_string(), "balance": balance })))
}

/// Answers 200 if a load balancer should send requests.
async fn ready(State(shared): App) -> Result<&'static str, Problem> {
    if shared.is_ready.load(Relaxed) {
        return Ok("ready\n");
    }
    Err(Problem::not_done(
        "the database does not answer, or the service stops",
    ))
}

/// Answers in Prometheus' text format.
async fn metrics(State(shared): App) -> String {
    let pool = shared.pool.status();
    metrics::gauge!("pool_connections_in_use").set((pool.size - pool.available) as f64);
    metrics::gauge!("pool_requests_waiting").set(pool.waiting as f64);
    shared.metrics.render()
}
