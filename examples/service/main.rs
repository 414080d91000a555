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
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

mod handlers;
mod problem;
mod transfer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    // `run_transaction` logs each retry at the level debug.
    let filter = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter.unwrap_or("info,crdb_tokio_postgres=debug".to_owned());
    let filter = EnvFilter::try_new(filter).context("RUST_LOG is not valid")?;
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let pool = crdb_tokio_postgres::connect(&DatabaseUrl::from_env()?).await?;
    transfer::create_tables(&pool)
        .await
        .context("cannot use the tables accounts and transfers: try another database")?;
    let port = env::var("PORT").unwrap_or("8080".to_owned());
    let port: u16 = port.parse().context("PORT is not the number of a port")?;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    tracing::info!("listening on {}", listener.local_addr()?);

    // Closed from the beginning of the shutdown on: each new request gets 503.
    let running = TaskTracker::new();
    let (begin, begun) = oneshot::channel();
    let service = handlers::service(pool.clone(), running.clone());
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = ctrl_c() => {}
        }
        tracing::info!("finishing the requests that run");
        running.close();
        let _ = begin.send(());
        running.wait().await;
    };
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown);
    let limit = async {
        let _ = begun.await;
        sleep(Duration::from_secs(25)).await;
    };
    tokio::select! {
        served = async { server.await } => served?,
        () = limit => tracing::warn!("stopped after 25 s, though a client was still connected"),
    }
    pool.close();
    Ok(())
}
