//! What is compared: the drivers' samples and recipes, and the transfer as one SQL statement.

use anyhow::{Result, anyhow, bail};
use crdb_conformance::{Driver, Threads};
use crdb_connection::DatabaseUrl;
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;

use crate::slot::Slot;

/// A yardstick: without a transaction around it, no transfer takes fewer round trips.
const ONE_STATEMENT: Contestant = Contestant {
    name: "one statement",
    is_driver: false,
    is_asynchronous: false,
    connect: OneStatement::connect,
    connect_worker: OneStatement::connect,
};

/// A driver or a yardstick.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// The name in figures and charts. A driver's is also its directory in `examples`.
    pub name: &'static str,
    pub is_driver: bool,
    pub is_asynchronous: bool,
    pub connect: Connect,
    /// Connects with all connections that the worker uses.
    pub connect_worker: Connect,
}

type Connect = fn(Threads, &DatabaseUrl) -> Result<Box<dyn Connection>>;

/// Returns the drivers with these names, and the yardstick.
pub fn contestants(names: &[String]) -> impl Iterator<Item = Contestant> {
    let mut drivers = Vec::new();
    macro_rules! add {
        ($kind:ident $module:ident $driver:ident ()) => {
            drivers.push(Contestant {
                is_asynchronous: stringify!($kind) == "asynchronous",
                ..driver::<crdb_conformance::$driver>()
            });
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
        is_driver: true,
        is_asynchronous: false,
        connect: |threads, url| Ok(Box::new(D::connect_on(threads, url)?)),
        connect_worker: |threads, url| {
            let worker = D::connect_worker(threads, url);
            Ok(Box::new(worker.map_err(|error| anyhow!(error))?))
        },
    }
}

/// A connection, or a pool with its runtime.
pub trait Connection: Send {
    /// Moves 1 from one account to the other, again and again until the slot is full.
    fn transfers(&mut self, accounts: [i64; 2], slot: Slot) -> Result<Slot>;

    /// Inserts rows into `customers` with the driver's recipe.
    fn insert(&mut self, _: &[(i64, String)]) -> Result<()> {
        bail!("a yardstick inserts no rows")
    }

    /// Reads the rows of `customers` up to this id with the driver's recipe.
    fn read(&mut self, _: i64, _: &mut dyn FnMut(i64, String)) -> Result<()> {
        bail!("a yardstick reads no rows")
    }
}

impl<D: Driver> Connection for D {
    fn transfers(&mut self, accounts: [i64; 2], slot: Slot) -> Result<Slot> {
        Ok(self.transfer_while(accounts, slot, Slot::record)?)
    }

    fn insert(&mut self, customers: &[(i64, String)]) -> Result<()> {
        self.insert_customers(customers)
            .map_err(|error| anyhow!(error))
    }

    fn read(&mut self, last: i64, each: &mut dyn FnMut(i64, String)) -> Result<()> {
        self.read_customers(last, each)
            .map_err(|error| anyhow!(error))
    }
}

struct OneStatement(Client);

impl OneStatement {
    fn connect(_: Threads, url: &DatabaseUrl) -> Result<Box<dyn Connection>> {
        Ok(Box::new(OneStatement(crdb_postgres::connect(url)?)))
    }
}

impl Connection for OneStatement {
    fn transfers(&mut self, [from, to]: [i64; 2], mut slot: Slot) -> Result<Slot> {
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
                Ok(2) if !slot.record(runs) => return Ok(slot),
                Ok(2) => runs = 0,
                Ok(_) => bail!("account {from} does not hold enough"),
                Err(error) if is_retryable(error.code()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
