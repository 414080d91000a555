//! An HTTP service that moves money between accounts. Each transfer is executed exactly once, also
//! if connections break and clients send their requests again.
//!
//! `cargo run --example service`
//!
//! Creates the tables `accounts` and `transfers` if they do not exist. `--help` lists the settings.
//!
//! - `main.rs`: the start and the shutdown.
//! - `settings.rs`: the settings.
//! - `tables.rs`: the tables.
//! - `handlers.rs`: the requests and their answers.
//! - `key.rs`: the key of a request.
//! - `problem.rs`: the answers that are errors.
//! - `limits.rs`: how many requests are at work, and for how long.
//! - `transfer.rs`: the transaction.
//! - `health.rs`: whether the database answers.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use axum_server::{Handle, Server};
use clap::Parser;
use crdb_connection::DatabaseUrl;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::handlers::Shared;
use crate::limits::Limits;
use crate::settings::Settings;

mod handlers;
mod health;
mod key;
mod limits;
mod pool;
mod problem;
mod settings;
mod tables;
mod transfer;

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    if settings.check {
        return health::check(settings.address, settings.port);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(run(settings));
    // A thread that still resolves a host's name does not hold the end.
    runtime.shutdown_background();
    result
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Returns how long to go on. Nobody waits for a terminal's Ctrl-C.
    let mut stop_signal = async || {
        tokio::select! {
            _ = terminate.recv() => settings.shutdown_delay,
            _ = interrupt.recv() => Duration::ZERO,
        }
    };
    // `run_transaction` logs each retry at the level debug.
    let filter = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter.unwrap_or("info,crdb_tokio_postgres=debug".to_owned());
    let filter = EnvFilter::try_new(filter).context("RUST_LOG is not valid")?;
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let url = DatabaseUrl::from_env()?;
    let start = async {
        let pool = pool::connect(&url, &settings).await?;
        tables::prepare(&pool).await?;
        anyhow::Ok((pool, listen(settings.address, settings.port).await?))
    };
    let (pool, listener) = tokio::select! {
        started = start => started?,
        _ = stop_signal() => return Ok(()),
    };
    tracing::info!("listening on {}", listener.local_addr()?);

    let answers = Arc::new(AtomicBool::new(true));
    let stopping = CancellationToken::new();
    let limits = Limits::new(pool, settings.max_requests(), settings.request_timeout);
    let running = limits.running.clone();
    let service = handlers::service(Shared {
        limits,
        client_timeout: settings.client_timeout,
        metrics: PrometheusBuilder::new()
            .set_buckets(&BUCKETS)?
            .install_recorder()?,
        answers: Arc::clone(&answers),
        stopping: stopping.clone(),
    });
    let handle = Handle::<SocketAddr>::new();
    let mut server = Server::from_listener(listener)
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(settings.client_timeout)
        .accept_error_handler(|_, error| tracing::error!("cannot accept a connection: {error}"));
    // Also for a connection that is idle.
    server
        .http_builder()
        .http1()
        .header_read_timeout(settings.client_timeout);

    let shutdown = async {
        let delay = stop_signal().await;
        stopping.cancel();
        tracing::info!("stopping: new connections are accepted for {delay:?}");
        sleep(delay).await;
        running.close();
        handle.graceful_shutdown(None);
        running.wait().await;
        // For the last answers to be sent. A silent client does not hold the end.
        sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        served = server.serve(service.into_make_service()) => served?,
        () = health::watch(pool::for_health(&url)?, settings.request_timeout / 2, &answers) => {}
        () = shutdown => {}
    }
    Ok(())
}

/// The upper limits, in seconds, into which the durations of requests are counted.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

async fn listen(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let mut addresses = vec![SocketAddr::new(address, port)];
    if address.is_unspecified() {
        // On a machine without IPv6.
        addresses.push((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let listener = TcpListener::bind(&addresses[..]).await;
    listener.with_context(|| format!("cannot listen on {}", addresses[0]))
}
