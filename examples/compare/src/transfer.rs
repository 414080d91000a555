//! A transfer of money: by a driver's sample, or as one SQL statement.

use anyhow::{Result, bail};
use crdb_conformance::Driver;
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;

/// A connection that transfers money.
pub trait Transfer: Send {
    /// Moves 1 from one account to the other and returns how many times the transaction ran.
    ///
    /// # Errors
    ///
    /// Returns an error if the transfer fails.
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32>;
}

impl<D: Driver> Transfer for D {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32> {
        Ok(Driver::transfer(self, from, to, 1)?)
    }
}

/// A transfer as one SQL statement: one round trip, no open transaction.
pub struct OneStatement(pub Client);

const SQL: &str =
    "UPDATE accounts SET balance = CASE id WHEN $1 THEN balance - 1 ELSE balance + 1 END
     WHERE id IN ($1, $2) AND (SELECT balance FROM accounts WHERE id = $1) >= 1";

impl Transfer for OneStatement {
    fn transfer(&mut self, from: i64, to: i64) -> Result<u32> {
        let mut runs = 0;
        loop {
            runs += 1;
            let values: [(&(dyn postgres::types::ToSql + Sync), Type); 2] =
                [(&from, Type::INT8), (&to, Type::INT8)];
            match self.0.execute_typed(SQL, &values) {
                Ok(2) => return Ok(runs),
                Ok(_) => bail!("account {from} does not hold enough"),
                Err(error) if is_retryable(error.code()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_retryable(code: Option<&SqlState>) -> bool {
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
        || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}
