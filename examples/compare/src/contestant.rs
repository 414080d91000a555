//! What is compared: the drivers' samples, and the transfer as one SQL statement.

use anyhow::{Result, bail};
use crdb_conformance::Driver;
use crdb_connection::DatabaseUrl;
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;

/// A yardstick: without a transaction around it, no transfer takes fewer round trips.
const ONE_STATEMENT: Contestant = Contestant {
    name: "one statement",
    connect: |url| Ok(Box::new(OneStatement(crdb_postgres::connect(url)?))),
};

/// A driver or a yardstick.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// The name in figures and charts. A driver's is also its directory in `examples`.
    pub name: &'static str,
    pub connect: fn(&DatabaseUrl) -> Result<Box<dyn Transfer>>,
}

/// Returns the drivers with these names, and the yardstick.
pub fn contestants(names: &[String]) -> impl Iterator<Item = Contestant> {
    let mut drivers = Vec::new();
    macro_rules! add {
        ($kind:ident $module:ident $driver:ident ()) => {
            drivers.push(driver::<crdb_conformance::$driver>());
        };
    }
    crdb_conformance::for_each_driver!([add]());
    let chosen = drivers.into_iter();
    chosen
        .filter(|driver| names.iter().any(|name| name == driver.name))
        .chain([ONE_STATEMENT])
}

const fn driver<D: Driver>() -> Contestant {
    Contestant {
        name: D::FACTS.name,
        connect: |url| Ok(Box::new(D::connect(url)?)),
    }
}

/// A connection that transfers money.
pub trait Transfer: Send {
    /// Moves 1 from one account to the other and returns how many times the transaction ran.
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32>;
}

impl<D: Driver> Transfer for D {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32> {
        Ok(Driver::transfer(self, from, to, 1)?)
    }
}

struct OneStatement(Client);

impl Transfer for OneStatement {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32> {
        let sql = "UPDATE accounts
                   SET balance = CASE id WHEN $1 THEN balance - 1 ELSE balance + 1 END
                   WHERE id IN ($1, $2) AND (SELECT balance FROM accounts WHERE id = $1) >= 1";
        let is_retryable = |code: Option<&SqlState>| {
            code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
                || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
        };
        let mut runs = 0;
        loop {
            runs += 1;
            let parameters = [(&from as _, Type::INT8), (&to as _, Type::INT8)];
            match self.0.execute_typed(sql, &parameters) {
                Ok(2) => return Ok(runs),
                Ok(_) => bail!("account {from} does not hold enough"),
                Err(error) if is_retryable(error.code()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
