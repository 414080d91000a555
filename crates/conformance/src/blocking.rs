//! What the blocking drivers have in common.

/// Declares a connection, and implements [`Driver`](crate::Driver) for it. The module has the sample
/// as `transfer`, the `recipes`, `many_rows` and its `brief!`, and implements [`Sql`](crate::Sql) for
/// the driver's type of a connection.
macro_rules! blocking {
    ($driver:ident, $facts:expr, $package:ident, $connection:ty) => {
        /// A connection.
        pub struct $driver(pub $connection);

        impl Driver for $driver {
            const FACTS: crate::Facts = $facts;

            fn connect(url: &DatabaseUrl) -> Result<Self, ConnectError> {
                $package::connect(url).map($driver)
            }

            fn transfer_with_entry(
                &mut self,
                entry: Option<i64>,
                from: i64,
                to: i64,
                amount: i64,
            ) -> Result<u32, TransactionError> {
                let mut runs = 0;
                $package::run_transaction(&mut self.0, |txn| {
                    runs += 1;
                    transfer::transfer_funds(txn, from, to, amount)?;
                    if let Some(entry) = entry {
                        txn.batch_execute(&insert_entry(entry))?;
                    }
                    Ok::<_, transfer::TransferError>(())
                })?;
                Ok(runs)
            }

            fn transfer_once(
                &mut self,
                request: i64,
                from: i64,
                to: i64,
                amount: i64,
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

            fn transact_briefly<E: std::error::Error + Send + Sync + 'static>(
                &mut self,
                mut op: impl FnMut(&mut dyn Sql) -> Result<(), E>,
            ) -> Result<(), TransactionError> {
                Ok(brief::run_transaction(&mut self.0, |txn| op(txn))?)
            }
        }
    };
}
pub(crate) use blocking;
