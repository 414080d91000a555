//! An HTTP service that moves money between accounts. Each transfer is executed exactly once, also
//! if connections break and clients send their requests again.
//!
//! `cargo run --example service`
//!
//! Creates the tables `accounts` and `transfers` if they do not exist. `DATABASE_URL` names the
//! database, `PORT` the port (8080), and `RUST_LOG` what is logged.
//!
//! - `main.rs`: the start and the shutdown.
//! - `handlers.rs`: the requests and their answers.
//! - `problem.rs`: the answers that are errors.
//! - `transfer.rs`: the transaction.

use std::env;
use std::time::Duration;

use anyhow::Context;
use crdb_connection::DatabaseUrl;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing_subscriber::EnvFilter;

mod handlers;
mod problem;
mod transfer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `run_transaction` logs each retry at the level debug.
    let default = || EnvFilter::new("info,crdb_tokio_postgres=debug");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let pool = crdb_tokio_postgres::connect(&DatabaseUrl::from_env()?).await?;
    transfer::create_tables(&pool).await?;
    let port = env::var("PORT").unwrap_or("8080".to_owned());
    let port: u16 = port.parse().context("PORT is not the number of a port")?;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    tracing::info!("listening on port {port}");

    let (stop, stopping) = watch::channel(false);
    let service = handlers::service(pool.clone(), stopping.clone());
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped(stopping.clone()));
    tokio::select! {
        served = async { server.await } => served?,
        () = async { wait_for_signal(stop).await; sleep(Duration::from_secs(25)).await } => {
            tracing::warn!("stopped, though requests were still running after 25 s");
        }
    }
    pool.close();
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C, and then begins the shutdown.
async fn wait_for_signal(stop: watch::Sender<bool>) {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal can be awaited");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("finishing the requests that run");
    stop.send_replace(true);
}

/// Waits until the shutdown begins.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}
