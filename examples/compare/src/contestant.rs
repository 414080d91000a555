//! What is compared: the drivers' samples, and the transfer as one SQL statement.

use anyhow::Result;
use crdb_conformance::{Diesel, Driver, Postgres, SeaOrm, TokioPostgres};
use crdb_connection::Config;

use crate::figures::RoundTrips;
use crate::relayed::Relayed;
use crate::round_trips;
use crate::transfer::{OneStatement, Transfer};

/// The drivers. A new driver is one line here.
pub const DRIVERS: &[Contestant] = &[
    driver::<Postgres>(),
    driver::<TokioPostgres>(),
    driver::<Diesel>(),
    driver::<SeaOrm>(),
];

/// A yardstick: without a transaction around it, no transfer takes fewer round trips.
pub const ONE_STATEMENT: Contestant = Contestant {
    name: "one statement",
    connect: |config| Ok(Box::new(one_statement(config)?)),
    count_round_trips: |relayed| round_trips::of_transfer(relayed, one_statement),
};

/// A driver or a yardstick, and how to measure it.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// The name in figures and charts. A driver's is also its directory in `examples`.
    pub name: &'static str,
    /// Opens a connection.
    pub connect: fn(&Config) -> Result<Box<dyn Transfer>>,
    /// Counts the network round trips.
    pub count_round_trips: fn(&Relayed) -> Result<RoundTrips>,
}

/// Returns the drivers with these names, and the yardstick.
pub fn contestants(names: &[String]) -> Vec<Contestant> {
    DRIVERS
        .iter()
        .filter(|driver| names.iter().any(|name| name == driver.name))
        .chain([&ONE_STATEMENT])
        .copied()
        .collect()
}

const fn driver<D: Driver>() -> Contestant {
    Contestant {
        name: D::NAME,
        connect: |config| Ok(Box::new(D::connect(config)?)),
        count_round_trips: round_trips::of_driver::<D>,
    }
}

fn one_statement(config: &Config) -> Result<OneStatement> {
    Ok(OneStatement(crdb_postgres::connect(config)?))
}
