//! One interface to all drivers, and the tests that check that the drivers behave alike and that
//! the samples and the documents agree.
//!
//! # Layout
//!
//! - `lib.rs`: the list of the drivers. A driver's file has all that differs for it.
//! - `driver.rs`: the trait [`Driver`]. Its methods call the samples' own code.
//! - `facts.rs`: the type of what differs, [`Facts`].
//! - `blocking.rs`, `asynchronous.rs`: what the blocking and the asynchronous drivers have in common.
//! - [`sample`]: runs the built samples.
//! - `tests/suite`: the tests, one module for each subject.

#![warn(missing_docs)]

mod asynchronous;
mod blocking;
mod diesel;
mod driver;
mod facts;
mod postgres;
pub mod sample;
mod sea_orm;
mod sqlx;
mod tokio_postgres;

pub use asynchronous::Asynchronous;
pub use driver::{AnyError, Driver, Sql, Threads, TransactionError, Transfer};
pub use facts::{Facts, RoundTrips};

/// Declares the list of the drivers for tests and for the comparison.
macro_rules! drivers {
    ($dollar:tt $($kind:ident $module:ident::$driver:ident),+ $(,)?) => {
        $(pub use $module::$driver;)+

        /// What differs between the drivers, in the order of the pages.
        pub const DRIVERS: &[Facts] = &[$($driver::FACTS),+];

        /// Calls a macro for each driver: `for_each_driver!([path::to::macro] argument)` calls it with the
        /// word `blocking` or `asynchronous`, the driver's module, its type and the argument.
        #[macro_export]
        macro_rules! for_each_driver {
            ([$dollar($dollar callback:tt)+] $dollar argument:tt) => {
                $($dollar($dollar callback)+! { $kind $module $driver $dollar argument })+
            };
        }
    };
}

drivers!(
    $
    blocking postgres::Postgres,
    asynchronous tokio_postgres::TokioPostgres,
    blocking diesel::Diesel,
    asynchronous sqlx::Sqlx,
    asynchronous sea_orm::SeaOrm,
);
