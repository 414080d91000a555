//! The listings of README.md.

use std::io;
use std::time::{Duration, Instant};

use crdb_connection::DatabaseUrl;
use crdb_postgres::{TransactionError, connect, run_transaction};
use postgres::Client;
use postgres::types::Type;
use r2d2::{ManageConnection, Pool};

use super::transfer::{TransferError, transfer_funds};

/// Describes the outcome of a transfer.
pub fn describe(result: Result<(), TransactionError<TransferError>>) -> String {
    match result {
        Ok(()) => "transferred".to_owned(),
        Err(TransactionError::Operation(TransferError::InsufficientFunds { balance, .. })) => {
            format!("refused: the account holds {balance}")
        }
        Err(TransactionError::AmbiguousCommit(error)) => format!("unknown: {error}"),
        Err(error) => format!("not transferred: {error}"),
    }
}

/// Transfers once for each `request`: a second call with the same `request` changes nothing.
pub fn transfer_once(
    txn: &mut Client,
    request: i64,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    let sql = "INSERT INTO requests (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    match txn.execute_typed(sql, &[(&request, Type::INT8)])? {
        0 => Ok(()),
        _ => transfer_funds(txn, from, to, amount),
    }
}

/// Transfers before the deadline, or changes nothing.
pub fn transfer_before(
    client: &mut Client,
    deadline: Instant,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransactionError<LimitError>> {
    run_transaction(client, |txn| {
        transfer_funds(txn, from, to, amount)?;
        // After this, only the commit follows.
        if Instant::now() >= deadline {
            return Err(LimitError::TimeIsOver);
        }
        Ok(())
    })
}

#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error("the time for the transfer is over")]
    TimeIsOver,
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

/// Opens and checks the connections of the pool.
pub struct Manager(DatabaseUrl);

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = io::Error;

    fn connect(&self) -> io::Result<Client> {
        connect(&self.0).map_err(io::Error::other)
    }

    fn is_valid(&self, client: &mut Client) -> io::Result<()> {
        let limit = Duration::from_secs(5);
        client.is_valid(limit).map_err(io::Error::other)
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}

/// Creates a pool. r2d2 reports why it cannot connect after 30 seconds, `connect` at once.
pub fn create_pool(url: DatabaseUrl) -> anyhow::Result<Pool<Manager>> {
    connect(&url)?;
    let pool = Pool::builder()
        .max_size(4)
        .min_idle(Some(1))
        .max_lifetime(Some(Duration::from_secs(5 * 60)))
        .build(Manager(url))?;
    Ok(pool)
}

/// Transfers in one SQL statement. Returns false if nothing was transferred.
pub fn transfer_in_one_statement(
    client: &mut Client,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<bool, postgres::Error> {
    let sql = "UPDATE accounts
        SET balance = CASE id WHEN $1 THEN balance - $3 ELSE balance + $3 END
        WHERE id IN ($1, $2) AND $3 > 0
            AND (SELECT balance FROM accounts WHERE id = $1) >= $3
            AND (SELECT count(*) FROM accounts WHERE id IN ($1, $2)) = 2";
    let updated = client.execute_typed(
        sql,
        &[
            (&from, Type::INT8),
            (&to, Type::INT8),
            (&amount, Type::INT8),
        ],
    )?;
    Ok(updated == 2)
}

/// A table whose keys are spread over the cluster.
pub const PAYMENTS: &str = "
CREATE TABLE payments (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    amount INT8 NOT NULL
)
";

/// A read of data that is some seconds old.
pub const STALE_READ: &str = "
SELECT balance FROM accounts AS OF SYSTEM TIME follower_read_timestamp() WHERE id = $1
";

/// Transfers in a handler: the blocking driver gets a thread of its own.
pub async fn transfer_in_a_handler(
    pool: Pool<Manager>,
    from: i64,
    to: i64,
    amount: i64,
) -> anyhow::Result<()> {
    let task = tokio::task::spawn_blocking(move || {
        let mut client = pool.get()?;
        run_transaction(&mut client, |txn| transfer_funds(txn, from, to, amount))?;
        Ok(())
    });
    task.await?
}
