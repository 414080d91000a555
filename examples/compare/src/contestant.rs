//! Who is compared: the samples of the three drivers, and a floor that none of them can be below.

use crdb_connection::{Config, ConnectError};
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;

use crdb_conformance::{AnyError, Diesel, Driver, Postgres, SeaOrm};

/// Something that transfers money.
pub trait Subject: Send {
    /// Moves 1 from one account to the other, and returns how often the transaction ran.
    ///
    /// # Errors
    ///
    /// The driver's.
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32, AnyError>;
}

impl<D: Driver> Subject for D {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32, AnyError> {
        Ok(Driver::transfer(self, from, to, 1)?)
    }
}

/// A name, and how to connect.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// As it is shown.
    pub name: &'static str,
    /// A connection of its own.
    pub connect: fn(&Config) -> Result<Box<dyn Subject>, ConnectError>,
}

/// The name of the floor.
pub const FLOOR: &str = "one statement";

/// The drivers of these names, and the floor.
pub fn contestants(drivers: &[&str]) -> Vec<Contestant> {
    let all = [
        Contestant {
            name: Postgres::NAME,
            connect: connect::<Postgres>,
        },
        Contestant {
            name: Diesel::NAME,
            connect: connect::<Diesel>,
        },
        Contestant {
            name: SeaOrm::NAME,
            connect: connect::<SeaOrm>,
        },
    ];
    let floor = Contestant {
        name: FLOOR,
        connect: |config| Ok(Box::new(Floor(crdb_postgres::connect(config)?))),
    };
    all.into_iter()
        .filter(|one| drivers.contains(&one.name))
        .chain([floor])
        .collect()
}

fn connect<D: Driver>(config: &Config) -> Result<Box<dyn Subject>, ConnectError> {
    Ok(Box::new(D::connect(config)?))
}

/// A transfer as one SQL statement: one round trip, and no transaction to hold open.
struct Floor(Client);

impl Subject for Floor {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32, AnyError> {
        let sql =
            "UPDATE accounts SET balance = CASE id WHEN $1 THEN balance - 1 ELSE balance + 1 END
                   WHERE id IN ($1, $2) AND (SELECT balance FROM accounts WHERE id = $1) >= 1";
        for run in 1.. {
            match self
                .0
                .execute_typed(sql, &[(&from, Type::INT8), (&to, Type::INT8)])
            {
                Ok(2) => return Ok(run),
                Ok(_) => return Err("the transfer in one statement was refused".into()),
                Err(error) if again(error.code()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err("run too often".into())
    }
}

fn again(code: Option<&SqlState>) -> bool {
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
        || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}
