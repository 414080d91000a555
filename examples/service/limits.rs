//! [`Limits`]: how many requests use the database at the same time, and for how long.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::problem::Problem;

/// The pool, and what bounds the work on it.
#[derive(Clone)]
pub struct Limits {
    pub pool: Pool,
    permits: Arc<Semaphore>,
    request_timeout: Duration,
    /// Counts what runs. Once it is closed, new requests are refused.
    pub running: TaskTracker,
}

/// Until when a request may take.
#[derive(Clone, Copy)]
pub struct Deadline {
    /// The last moment to begin the commit.
    pub op: Instant,
    /// The answer is given.
    pub end: Instant,
}

impl Limits {
    pub fn new(pool: Pool, max_requests: usize, request_timeout: Duration) -> Limits {
        Limits {
            pool,
            permits: Arc::new(Semaphore::new(max_requests)),
            request_timeout,
            running: TaskTracker::new(),
        }
    }

    /// Does the work, in a task of its own: it ends in order and logs its end also if the client has
    /// gone. Refuses it at once if as many requests as allowed are at work.
    pub async fn run<T, F>(&self, work: impl FnOnce(Pool, Deadline) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(Problem::not_done("the service is busy"));
        };
        let now = Instant::now();
        let deadline = Deadline {
            op: now + self.request_timeout * 4 / 5,
            end: now + self.request_timeout,
        };
        // A new connection may need longer than this request: it is opened all the same, for the next
        // one. Otherwise a host that hangs would hide those that follow it in the list.
        let pool = self.pool.clone();
        let connect = tokio::spawn(async move { (pool.get().await.map(drop), permit) });
        let Ok(connected) = timeout_at(deadline.op, connect).await else {
            return Err(Problem::not_done(
                "there is no free connection to the database",
            ));
        };
        let (connected, permit) = connected.map_err(panicked)?;
        connected?;
        let work = work(self.pool.clone(), deadline);
        let work = async move {
            let _permit = permit;
            work.await
        };
        let task = self.running.spawn(work.instrument(Span::current()));
        task.await.map_err(panicked)?
    }
}

fn panicked(error: impl Display) -> Problem {
    Problem::broken(error)
}
