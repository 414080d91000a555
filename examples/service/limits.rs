//! How many requests use the database at the same time, and for how long.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crdb_tokio_postgres::TransactionError;
use deadpool_postgres::Pool;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::problem::Problem;

/// What the requests share.
pub struct Shared {
    pub pool: Pool,
    /// One for each request that uses the database. Closed at the end.
    pub permits: Arc<Semaphore>,
    pub request_timeout: Duration,
    /// For a request's body to arrive.
    pub client_timeout: Duration,
    pub running: TaskTracker,
    pub is_ready: AtomicBool,
    pub metrics: PrometheusHandle,
}

/// What is left of the request's time when its commit begins.
pub const COMMIT_TIME: Duration = Duration::from_secs(2);

impl Shared {
    /// Does the work until a deadline, in a task of its own: it ends in order, and logs its end, also if
    /// the client has gone. Refuses the work at once if too many requests use the database.
    pub async fn run<T, F>(&self, work: impl FnOnce(Pool, Instant) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(Problem::not_done("the service is busy, or stops"));
        };
        let _running = self.running.token();
        let deadline = Instant::now() + self.request_timeout;
        // If a host of the list hangs, to connect takes longer than a request. The connection is opened
        // all the same, for the next request.
        let pool = self.pool.clone();
        let connect = tokio::spawn(async move { pool.get().await.map(|_| permit) });
        let Ok(connected) = timeout_at(deadline - COMMIT_TIME, connect).await else {
            return Err(Problem::not_done("there is no connection to the database"));
        };
        let connected = connected.map_err(Problem::broken)?;
        let permit = connected.map_err(TransactionError::NoConnection)?;
        let work = work(self.pool.clone(), deadline);
        let work = async move { (work.await, permit) };
        let task = self.running.spawn(work.instrument(Span::current()));
        task.await.map_err(Problem::broken)?.0
    }
}
