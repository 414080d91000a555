//! Runs the asynchronous drivers for callers that are not asynchronous.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::block_in_place;

/// Starts a runtime with one worker thread, which serves the network while an `op` blocks.
pub(crate) fn start() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("a thread can be started")
}

/// Waits for a future within an asynchronous `op`.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}
