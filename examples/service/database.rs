//! The pools, with the service's own limits, and whether the database answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crdb_connection::DatabaseUrl;
use crdb_tokio_postgres::pool_builder;
use deadpool_postgres::{ClientWrapper, Hook, HookError, Object, Pool, PoolError};
use tokio::time::{Instant, sleep, timeout};

use crate::limits::Shared;

/// Creates the pool of the requests. Waits until `end` for a database that is not up yet.
pub async fn connect(
    url: &DatabaseUrl,
    size: usize,
    limit: Duration,
    end: Instant,
) -> anyhow::Result<Pool> {
    // A statement that waits for a lock ends before its request, and the server ends a transaction whose
    // connection hangs. Set once for each connection, this costs a request no round trip.
    let sql = format!(
        "SET statement_timeout = {0}; SET idle_in_transaction_session_timeout = {0}",
        limit.as_millis()
    );
    let set_limits = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let sql = sql.clone();
        Box::pin(async move {
            let set = timeout(limit, client.batch_execute(&sql)).await;
            let set = set.map_err(|_| HookError::message("the database does not answer"))?;
            set.map_err(HookError::Backend)
        })
    });
    let pool = pool_builder(url)?.max_size(size).wait_timeout(Some(limit));
    let pool = pool.post_create(set_limits).build()?;
    while let Err(error) = pool.get().await {
        // The server rejects the login. Class 57: it starts or stops.
        let is_final = matches!(&error, PoolError::Backend(error)
            if error.code().is_some_and(|code| !code.code().starts_with("57")));
        let error = url.explain(error);
        if is_final || Instant::now() > end {
            return Err(error.into());
        }
        tracing::warn!("waiting for the database: {error}");
        sleep(Duration::from_secs(1)).await;
    }
    Ok(pool)
}

/// Asks the database each second, on a connection of its own: those of the pool can all be in use.
pub async fn watch(url: &DatabaseUrl, limit: Duration, shared: &Shared) -> anyhow::Result<()> {
    let pool = pool_builder(url)?.max_size(1).build()?;
    loop {
        let mut is_well = false;
        if let Ok(client) = pool.get().await {
            let asked = timeout(limit, client.batch_execute("SELECT 1")).await;
            is_well = matches!(asked, Ok(Ok(())));
            if !is_well {
                // The next connection may reach another host.
                drop(Object::take(client));
            }
        }
        shared.is_ready.store(is_well, Ordering::Relaxed);
        // Without it, the durations would pile up until the next request for the metrics.
        shared.metrics.run_upkeep();
        sleep(Duration::from_secs(1)).await;
    }
}
