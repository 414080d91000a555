//! An HTTP service that moves money between accounts. Each transfer is executed exactly once, also
//! if connections break and clients send their requests again.
//!
//! `cargo run --example service`
//!
//! Creates the tables `accounts` and `transfers` if they do not exist.

use std::env;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use axum_server::{Handle, Server};
use crdb_connection::DatabaseUrl;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tracing_subscriber::EnvFilter;

mod database;
mod handlers;
mod limits;
mod problem;
mod tables;
mod transfer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `run_transaction` logs each retry at the level debug.
    let filter = setting("RUST_LOG", "info,crdb_tokio_postgres=debug".to_owned())?;
    let filter = EnvFilter::try_new(filter).context("RUST_LOG is not valid")?;
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let address: IpAddr = setting("ADDRESS", Ipv6Addr::UNSPECIFIED.into())?;
    let port: u16 = setting("PORT", 8080)?;
    let pool_size = setting("POOL_SIZE", 4)?;
    let max_requests = setting("MAX_REQUESTS", 2 * pool_size)?;
    let seconds = |name, default| setting(name, default).map(Duration::from_secs);
    let start_timeout = seconds("START_TIMEOUT", 30)?;
    let request_timeout = seconds("REQUEST_TIMEOUT", 10)?;
    let client_timeout = seconds("CLIENT_TIMEOUT", 5)?;
    let shutdown_delay = seconds("SHUTDOWN_DELAY", 5)?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Returns how long to go on. After a terminal's Ctrl-C, no load balancer has to notice it.
    let mut stop = async || {
        tokio::select! {
            _ = terminate.recv() => shutdown_delay,
            _ = interrupt.recv() => Duration::ZERO,
        }
    };
    let url = DatabaseUrl::from_env()?;
    let (limit, end) = (request_timeout / 2, Instant::now() + start_timeout);
    let start = async {
        let pool = database::connect(&url, pool_size, limit, end).await?;
        let end = end.max(Instant::now() + limit);
        let prepared = tokio::time::timeout_at(end, tables::prepare(&pool)).await;
        prepared.context("the database does not answer")??;
        anyhow::Ok(pool)
    };
    let pool = tokio::select! {
        pool = start => pool?,
        _ = stop() => std::process::exit(0),
    };
    let listener = TcpListener::bind((address, port)).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}, {port}"))?;
    tracing::info!("listening on {}", listener.local_addr()?);

    let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];
    let metrics = PrometheusBuilder::new().set_buckets(&buckets)?;
    let shared = Arc::new(limits::Shared {
        pool,
        permits: Arc::new(tokio::sync::Semaphore::new(max_requests)),
        request_timeout,
        client_timeout,
        running: Default::default(),
        is_ready: true.into(),
        metrics: metrics.install_recorder()?,
    });
    let handle = Handle::<SocketAddr>::new();
    let mut server = Server::from_listener(listener)
        .handle(handle.clone())
        .http1_only()
        .accept_error_handler(|_, error| tracing::error!("cannot accept a connection: {error}"));
    // Also for an idle connection.
    let mut http = server.http_builder().http1();
    http.header_read_timeout(client_timeout);
    let service = handlers::service(Arc::clone(&shared));
    let mut server = std::pin::pin!(server.serve(service.into_make_service()));
    let delay = tokio::select! {
        served = &mut server => return Ok(served?),
        watched = database::watch(&url, limit, &shared) => return watched,
        delay = stop() => delay,
    };

    shared.is_ready.store(false, Ordering::Relaxed);
    tracing::info!("stopping in {delay:?}");
    let shutdown = async {
        sleep(delay).await;
        shared.permits.close();
        shared.running.close();
        shared.running.wait().await;
        // For the last answers. A silent client does not hold the end.
        handle.graceful_shutdown(Some(Duration::from_secs(1)));
    };
    Ok(tokio::join!(server, shutdown).0?)
}

/// Reads a variable. An empty one counts as not set.
fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().ok().context(format!("{name} is not valid")),
        _ => Ok(default),
    }
}
