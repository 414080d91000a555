//! The requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, OnResponse, TraceLayer};
use tracing::{Level, Span};

use crate::key::key;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::transfer::{self, Transfer};

/// In bytes.
const MAX_BODY: usize = 16 * 1024;

/// What the requests share.
#[derive(Clone)]
pub struct Shared {
    pub limits: Limits,
    /// For a body to arrive.
    pub client_timeout: Duration,
    pub metrics: PrometheusHandle,
    /// Whether the database answers.
    pub answers: Arc<AtomicBool>,
    /// Cancelled from the signal to stop on.
    pub stopping: CancellationToken,
}

/// Returns the service.
pub fn service(shared: Shared) -> Router {
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(record)
        .on_failure(());
    let wrong_method = async || {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "the path has another method",
        )
    };
    // Asked by machines, often: neither logged nor counted.
    let for_machines = Router::new()
        .route("/health/live", get("live\n"))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(wrong_method);
    Router::new()
        .route("/transfers", post(transfer))
        .route("/accounts/{id}", get(account))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            refuse_at_the_end,
        ))
        .layer(trace)
        .merge(for_machines)
        .with_state(shared)
}

/// Logs and counts an answer.
fn record(response: &Response, time: Duration, span: &Span) {
    let status = response.status().as_u16().to_string();
    metrics::counter!("http_requests_total", "status" => status).increment(1);
    metrics::histogram!("http_request_duration_seconds").record(time);
    DefaultOnResponse::new()
        .level(Level::INFO)
        .on_response(response, time, span);
}

/// Counts the requests that run. Refuses new ones when the service ends.
async fn refuse_at_the_end(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let running = &shared.limits.running;
    if running.is_closed() {
        return Problem::not_done("the service is stopping").into_response();
    }
    running.track_future(next.run(request)).await
}

async fn transfer(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let Some(key) = key(request.headers()) else {
        let detail = "there must be one header Idempotency-Key: a quoted string, or letters, digits \
                      and -._~:/+=, of 1 to 255 characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let body = timeout(shared.client_timeout, body(request)).await;
    let Ok(body) = body else {
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        ));
    };
    let request = body?;
    let work = shared
        .limits
        .run(|pool, deadline| transfer::execute(pool, deadline, key, request));
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let answer = work
        .await?
        .ok_or(invalid("the Idempotency-Key was used for another transfer"))?;
    match StatusCode::from_u16(answer.status as u16) {
        Ok(StatusCode::OK) => {
            let json = [("Content-Type", "application/json")];
            Ok((json, answer.text).into_response())
        }
        Ok(status) => Err(Problem::new(status, answer.text)),
        Err(error) => Err(Problem::broken(error)),
    }
}

/// Reads a transfer.
async fn body(request: Request<Body>) -> Result<Transfer, Problem> {
    let refuse = |error: JsonRejection| Problem::new(error.status(), error.body_text());
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "length limit exceeded",
        ));
    }
    let Json(json) = Json::<Box<RawValue>>::from_request(request, &())
        .await
        .map_err(refuse)?;
    if !json.get().starts_with('{') {
        return Err(invalid("the body is not an object"));
    }
    let transfer = Json::<Transfer>::from_bytes(json.get().as_bytes());
    let Json(transfer) = transfer.map_err(refuse)?;
    if transfer.amount <= 0 {
        return Err(invalid("the amount is not positive"));
    }
    Ok(transfer)
}

async fn account(
    State(shared): State<Shared>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let work = shared
        .limits
        .run(|pool, deadline| transfer::balance(pool, deadline, id));
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no account {id}"));
    let balance = work.await?.ok_or_else(missing)?.to_string();
    Ok(Json(json!({ "id": id.to_string(), "balance": balance })))
}

/// Answers 200 if this instance should get requests.
async fn ready(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    if shared.stopping.is_cancelled() {
        return Err(Problem::not_done("the service is stopping"));
    }
    if !shared.answers.load(Relaxed) {
        return Err(Problem::not_done("the database does not answer"));
    }
    Ok("ready\n")
}

/// Answers in the text format of Prometheus.
async fn metrics(State(shared): State<Shared>) -> String {
    let pool = shared.limits.pool.status();
    let gauges = [
        ("pool_connections_in_use", pool.size - pool.available),
        ("pool_requests_waiting", pool.waiting),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value as f64);
    }
    shared.metrics.render()
}
