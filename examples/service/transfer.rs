//! The transaction: one transfer for each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crdb_tokio_postgres::run_transaction;
use deadpool_postgres::{Object, Pool};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};
use tokio::time::timeout_at;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use crate::limits::Deadline;
use crate::problem::{OpError, Problem};

/// A transfer that a client requests.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    #[serde(deserialize_with = "int8")]
    pub from: i64,
    #[serde(deserialize_with = "int8")]
    pub to: i64,
    #[serde(deserialize_with = "int8")]
    pub amount: i64,
}

/// Reads a number, or its text: JavaScript has no exact numbers above 2^53.
fn int8<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| D::Error::custom("expected a whole number of 64 bits"))
}

/// The answer to a transfer. It is stored with the key, and answers each further request with it.
pub struct Answer {
    /// The HTTP status.
    pub status: i64,
    /// The new balances as JSON, or the reason of a refusal.
    pub text: String,
}

/// Makes a transfer once for each key. Returns `None` if the key was used for another transfer.
///
/// # Errors
///
/// Returns an error if nothing was done, or if the outcome is not known.
pub async fn execute(
    pool: Pool,
    deadline: Deadline,
    key: String,
    request: Transfer,
) -> Result<Option<Answer>, Problem> {
    let may_commit = Arc::new(AtomicBool::new(false));
    let may_commit_after = Arc::clone(&may_commit);
    // A run after the first one is a retry. If the commit failed and not `op`, it was 40001.
    let mut retry = None;
    let op = async move |txn: &Client| {
        may_commit.store(false, Relaxed);
        if let Some(sqlstate) = retry.replace("40001".to_owned()) {
            metrics::counter!("transaction_retries_total", "sqlstate" => sqlstate).increment(1);
        }
        // `op` ends in time for the commit. So no commit is sent for a client that was answered.
        let Ok(run) = timeout_at(deadline.op, transfer(txn, &key, request)).await else {
            return Err(OpError::Late);
        };
        if let Some(code) = run.as_ref().err().and_then(Error::code) {
            retry = Some(code.code().to_owned());
        }
        may_commit.store(run.is_ok(), Relaxed);
        Ok(run?)
    };
    // If the connection hangs, this closes it: its server rolls back.
    match timeout_at(deadline.end, run_transaction(&pool, op)).await {
        Ok(result) => Ok(result?),
        Err(_) if may_commit_after.load(Relaxed) => {
            Err(Problem::unknown("no answer to the commit"))
        }
        Err(_) => Err(Problem::not_done("the database does not answer")),
    }
}

/// Makes a transfer, or returns the answer that was given to this key. Returns `None` if the key was
/// used for another transfer. The answer and the new balances are committed together.
async fn transfer(txn: &Client, key: &str, transfer: Transfer) -> Result<Option<Answer>, Error> {
    let Transfer { from, to, amount } = transfer;
    let request = format!("{from} to {to}: {amount}");
    let first = "SELECT request = $2, status, answer FROM transfers WHERE key = $1";
    let values = [(&key as _, Type::TEXT), (&request as _, Type::TEXT)];
    if let Some(row) = txn.query_typed(first, &values).await?.first() {
        let (is_same, status, text): (bool, _, _) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        return Ok(is_same.then_some(Answer { status, text }));
    }

    // FOR UPDATE locks both accounts: another transfer that touches one of them waits here instead of
    // failing. The order of the ids prevents deadlocks.
    let lock = "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE";
    let mut balances = BTreeMap::new();
    for row in txn
        .query_typed(lock, &[(&from, Type::INT8), (&to, Type::INT8)])
        .await?
    {
        balances.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let answer = decide(transfer, balances);
    let store = "INSERT INTO transfers (key, request, status, answer) VALUES ($1, $2, $3, $4)";
    let row: [(&(dyn ToSql + Sync), Type); 4] = [
        (&key, Type::TEXT),
        (&request, Type::TEXT),
        (&answer.status, Type::INT8),
        (&answer.text, Type::TEXT),
    ];
    if answer.status == 200 {
        // Sent together, in this order: one round trip.
        let (debit, credit, stored) = tokio::join!(biased;
            change(txn, from, -amount), change(txn, to, amount), txn.execute_typed(store, &row));
        (debit?, credit?, stored?);
    } else {
        txn.execute_typed(store, &row).await?;
    }
    Ok(Some(answer))
}

async fn change(txn: &Client, account: i64, change: i64) -> Result<u64, Error> {
    let update = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
    let values = [(&change as _, Type::INT8), (&account as _, Type::INT8)];
    txn.execute_typed(update, &values).await
}

/// Returns the answer to a transfer between accounts with these balances.
fn decide(transfer: Transfer, mut balances: BTreeMap<i64, i64>) -> Answer {
    let Transfer { from, to, amount } = transfer;
    let answer = |status, text| Answer { status, text };
    let missing = [from, to]
        .into_iter()
        .find(|account| !balances.contains_key(account));
    if let Some(account) = missing {
        return answer(404, format!("there is no account {account}"));
    }
    let balance = balances[&from];
    if balance < amount {
        let text =
            format!("account {from} holds {balance}, which is not enough to transfer {amount}");
        return answer(409, text);
    }
    balances.insert(from, balance - amount);
    let Some(balance) = balances[&to].checked_add(amount) else {
        return answer(409, format!("account {to} cannot hold {amount} more"));
    };
    balances.insert(to, balance);
    // As text: JavaScript rounds numbers above 2^53.
    let balances: BTreeMap<_, _> = balances.iter().map(|(id, n)| (id, n.to_string())).collect();
    answer(200, json!({ "balances": balances }).to_string())
}

/// Reads a balance.
///
/// # Errors
///
/// Returns an error if there is no answer.
pub async fn balance(pool: Pool, deadline: Deadline, account: i64) -> Result<Option<i64>, Problem> {
    let sql = "SELECT balance FROM accounts WHERE id = $1";
    let client = pool.get().await?;
    let values = [(&account as _, Type::INT8)];
    let Ok(rows) = timeout_at(deadline.end, client.query_typed(sql, &values)).await else {
        // Taken out of the pool, the client closes its connection.
        drop(Object::take(client));
        return Err(Problem::not_done("the database does not answer"));
    };
    Ok(rows?.first().map(|row| row.try_get(0)).transpose()?)
}
