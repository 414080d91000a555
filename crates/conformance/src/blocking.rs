//! What the blocking drivers have in common.

/// Declares a connection, and implements [`Driver`](crate::Driver) for it. The module has the sample
/// as `transfer`, the `recipes` and `many_rows`, and implements [`Sql`](crate::Sql) for the driver's
/// type of a connection.
macro_rules! blocking {
    ($driver:ident, $facts:expr, $package:ident, $connection:ty) => {
        /// A connection.
        pub struct $driver(pub $connection);

        crate::driver::from_driver!($package);

        impl Driver for $driver {
            const FACTS: Facts = $facts;

            fn connect_on(_: Threads, url: &DatabaseUrl) -> Result<Self, ConnectError> {
                $package::connect(url).map($driver)
            }

            fn transfer_while<S: Send + 'static>(
                &mut self,
                [from, to]: [i64; 2],
                mut state: S,
                each: fn(&mut S, u32) -> bool,
            ) -> Result<S, TransactionError> {
                loop {
                    let mut runs = 0;
                    $package::run_transaction(&mut self.0, |txn| {
                        runs += 1;
                        transfer::transfer_funds(txn, from, to, 1)
                    })?;
                    if !each(&mut state, runs) {
                        return Ok(state);
                    }
                }
            }

            fn transfer_once(
                &mut self,
                request: i64,
                [from, to, amount]: Transfer,
            ) -> Result<(), TransactionError> {
                Ok($package::run_transaction(&mut self.0, |txn| {
                    recipes::transfer_once(txn, request, from, to, amount)
                })?)
            }

            fn insert_customers(&mut self, customers: &[(i64, String)]) -> Result<(), AnyError> {
                Ok(many_rows::insert_customers(&mut self.0, customers)?)
            }

            fn read_customers(
                &mut self,
                last: i64,
                each: impl FnMut(i64, String),
            ) -> Result<(), AnyError> {
                Ok(many_rows::read_customers(&mut self.0, last, each)?)
            }

            fn transact<E: std::error::Error + Send + Sync + 'static>(
                &mut self,
                mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
            ) -> Result<(), TransactionError> {
                Ok($package::run_transaction(&mut self.0, |txn| op(txn))?)
            }
        }
    };
}
pub(crate) use blocking;
