//! What the asynchronous drivers have in common.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, block_in_place};

use crate::driver::{Driver, Threads};

/// A driver whose `run_transaction` is a future.
pub trait Asynchronous: Driver {
    /// Returns the runtime that the connections run on.
    fn runtime(&self) -> &Runtime;

    /// Starts a transaction that runs `statement(1)` in its first run, and so on.
    fn spawn(&self, statement: impl FnMut(u32) -> String + Send + 'static) -> JoinHandle<()>;
}

/// Starts a runtime with this number of threads.
pub(crate) fn start(threads: Threads) -> Runtime {
    let mut builder = match threads {
        Threads::One => Builder::new_current_thread(),
        Threads::EachCore => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build();
    runtime.expect("threads can be started")
}

/// Waits for a future within an asynchronous `op`.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}

/// Declares a pool with its runtime, and implements [`Driver`] and [`Asynchronous`] for it. The
/// module has the sample as `transfer`, the `recipes` and `many_rows`, the function `pool_of_two`, and
/// `execute` and `read` for its type of a transaction.
macro_rules! asynchronous {
    ($driver:ident, $facts:expr, $package:ident, $pool:ty, $txn:ty) => {
        /// A pool, and the runtime that its connections run on.
        pub struct $driver {
            threads: Threads,
            runtime: tokio::runtime::Runtime,
            pool: $pool,
        }

        crate::driver::from_driver!($package, NoConnection);

        impl Driver for $driver {
            const FACTS: Facts = $facts;

            fn connect_on(threads: Threads, url: &DatabaseUrl) -> Result<Self, ConnectError> {
                let runtime = crate::asynchronous::start(threads);
                let pool = runtime.block_on($package::connect(url))?;
                Ok($driver {
                    threads,
                    runtime,
                    pool,
                })
            }

            fn connect_worker(threads: Threads, url: &DatabaseUrl) -> Result<Self, AnyError> {
                let runtime = crate::asynchronous::start(threads);
                let pool = runtime.block_on(pool_of_two(url))?;
                let op = async |txn: $txn| execute(txn, "SELECT 1").await;
                let open = || $package::run_transaction(&pool, op);
                let opened = runtime.block_on(async { tokio::join!(open(), open()) });
                opened.0.and(opened.1)?;
                Ok($driver {
                    threads,
                    runtime,
                    pool,
                })
            }

            fn transfer_while<S: Send + 'static>(
                &mut self,
                [from, to]: [i64; 2],
                mut state: S,
                each: fn(&mut S, u32) -> bool,
            ) -> Result<S, TransactionError> {
                use std::sync::atomic::{AtomicU32, Ordering};
                let pool = self.pool.clone();
                let transfers = async move {
                    loop {
                        let runs = std::sync::Arc::new(AtomicU32::new(0));
                        let count = runs.clone();
                        let op = async move |txn: $txn| {
                            count.fetch_add(1, Ordering::Relaxed);
                            transfer::transfer_funds(txn, from, to, 1).await
                        };
                        $package::run_transaction(&pool, op).await?;
                        if !each(&mut state, runs.load(Ordering::Relaxed)) {
                            return Ok(state);
                        }
                    }
                };
                match self.threads {
                    Threads::One => self.runtime.block_on(transfers),
                    Threads::EachCore => {
                        let task = self.runtime.spawn(transfers);
                        self.runtime.block_on(task).expect("no panic")
                    }
                }
            }

            fn transfer_once(
                &mut self,
                request: i64,
                [from, to, amount]: Transfer,
            ) -> Result<(), TransactionError> {
                let op =
                    async |txn: $txn| recipes::transfer_once(txn, request, from, to, amount).await;
                let transaction = $package::run_transaction(&self.pool, op);
                Ok(self.runtime.block_on(transaction)?)
            }

            fn insert_customers(&mut self, customers: &[(i64, String)]) -> Result<(), AnyError> {
                let insert = many_rows::insert_customers(&self.pool, customers);
                Ok(self.runtime.block_on(insert)?)
            }

            fn read_customers(
                &mut self,
                last: i64,
                each: impl FnMut(i64, String),
            ) -> Result<(), AnyError> {
                let read = many_rows::read_customers(&self.pool, last, each);
                Ok(self.runtime.block_on(read)?)
            }

            fn transact<E: std::error::Error + Send + Sync + 'static>(
                &mut self,
                mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
            ) -> Result<(), TransactionError> {
                let op = async |txn: $txn| op(&mut Blocking(txn));
                let transaction = $package::run_transaction(&self.pool, op);
                Ok(self.runtime.block_on(transaction)?)
            }
        }

        impl Asynchronous for $driver {
            fn runtime(&self) -> &tokio::runtime::Runtime {
                &self.runtime
            }

            fn spawn(
                &self,
                mut statement: impl FnMut(u32) -> String + Send + 'static,
            ) -> tokio::task::JoinHandle<()> {
                let pool = self.pool.clone();
                self.runtime.spawn(async move {
                    let mut run = 0;
                    let op = async move |txn: $txn| {
                        run += 1;
                        execute(txn, &statement(run)).await
                    };
                    $package::run_transaction(&pool, op).await.unwrap();
                })
            }
        }

        /// Runs SQL in a transaction and blocks until the answer arrives.
        struct Blocking<T>(T);

        impl Sql for Blocking<$txn> {
            fn execute(&mut self, sql: &str) -> Result<(), AnyError> {
                Ok(crate::asynchronous::wait_for(execute(self.0, sql))?)
            }

            fn read(&mut self, sql: &str) -> Result<Vec<i64>, AnyError> {
                Ok(crate::asynchronous::wait_for(read(self.0, sql))?)
            }
        }
    };
}
pub(crate) use asynchronous;
