//! The pools, with the service's own limits.

use anyhow::Context;
use crdb_connection::DatabaseUrl;
use crdb_tokio_postgres::pool_builder;
use deadpool_postgres::{Hook, HookError, Pool, PoolError};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::settings::Settings;

/// Creates the pool of the requests, and opens its first connection. Waits for a database that is not
/// up yet.
///
/// # Errors
///
/// Returns an error if there is no connection in this time, or if the server rejects the login.
pub async fn connect(url: &DatabaseUrl, settings: &Settings) -> anyhow::Result<Pool> {
    let limit = settings.request_timeout / 2;
    // A statement that waits for a lock ends before its request; a server whose client hangs gives up
    // the locks. Set once for each connection, this costs no round trip of a request.
    let statement = format!(
        "SET statement_timeout = {0}; SET idle_in_transaction_session_timeout = {0}",
        limit.as_millis()
    );
    let set_limits = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let statement = statement.clone();
        Box::pin(async move {
            let set = timeout(limit, client.batch_execute(&statement)).await;
            let set = set.map_err(|_| HookError::message("the database does not answer"))?;
            set.map_err(HookError::Backend)
        })
    });
    let pool = pool_builder(url)?
        .max_size(settings.pool_size.get())
        .wait_timeout(Some(limit))
        .post_create(set_limits)
        .build()?;
    let end = Instant::now() + settings.start_timeout;
    loop {
        let error = match pool.get().await {
            Ok(_) => return Ok(pool),
            Err(PoolError::Backend(error)) => error,
            Err(error) => return Err(url.explain(error).into()),
        };
        // 53: too many connections. 57: the server starts or stops.
        let is_final = error
            .code()
            .is_some_and(|code| !["53", "57"].contains(&&code.code()[..2]));
        let error = url.explain(error);
        if is_final || Instant::now() > end {
            return Err(error.into());
        }
        tracing::warn!("waiting for the database: {error}");
        sleep(Duration::from_secs(1)).await;
    }
}

/// Creates the pool of the health check.
///
/// # Errors
///
/// Returns an error if OpenSSL does not accept a certificate file.
pub fn for_health(url: &DatabaseUrl) -> anyhow::Result<Pool> {
    pool_builder(url)?
        .max_size(1)
        .build()
        .context("cannot create a pool")
}
