//! The transaction: one transfer for each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crdb_tokio_postgres::TransactionError::{Database, NoConnection};
use crdb_tokio_postgres::run_transaction;
use deadpool_postgres::{Object, Pool};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use crate::limits::COMMIT_TIME;
use crate::problem::{OpError, Problem};

/// A transfer that a client requests.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    #[serde(deserialize_with = "whole_number")]
    pub from: i64,
    #[serde(deserialize_with = "whole_number")]
    pub to: i64,
    #[serde(deserialize_with = "whole_number")]
    pub amount: i64,
}

/// Reads a number, or its text: JavaScript has no exact numbers above 2^53.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| D::Error::custom("expected a whole number of 64 bits"))
}

/// The answer to a transfer: the HTTP status, and the new balances as JSON or the reason of a refusal.
/// It is stored with the key, and answers each further request with it.
pub type Answer = (i64, String);

type Outcome = Result<Option<Answer>, Problem>;

/// Makes a transfer once for each key. Returns `None` if the key was used for another transfer.
pub async fn execute(pool: Pool, deadline: Instant, key: String, wanted: Transfer) -> Outcome {
    let may_commit = Arc::new(AtomicBool::new(false));
    let begins_commit = Arc::clone(&may_commit);
    // A run after the first one is a retry. If the commit failed, and not `op`, it failed with 40001.
    let mut retry = None;
    let op = async move |txn: &Client| {
        begins_commit.store(false, Relaxed);
        if let Some(sqlstate) = retry.replace("40001".to_owned()) {
            metrics::counter!("transaction_retries_total", "sqlstate" => sqlstate).increment(1);
        }
        // So no commit begins for a client that has an answer.
        let run = timeout_at(deadline - COMMIT_TIME, transfer(txn, &key, wanted)).await;
        let run = run.map_err(|_| OpError::Late)?;
        if let Some(code) = run.as_ref().err().and_then(Error::code) {
            retry = Some(code.code().to_owned());
        }
        begins_commit.store(run.is_ok(), Relaxed);
        Ok(run?)
    };
    // At the deadline a connection that hangs is closed.
    match timeout_at(deadline, run_transaction(&pool, op)).await {
        Ok(result) => Ok(result?),
        Err(_) if may_commit.load(Relaxed) => Err(Problem::unknown("no answer to the commit")),
        Err(_) => Err(Problem::not_done("the database does not answer")),
    }
}

/// Makes a transfer, or returns the answer that was given to this key. Returns `None` if the key was
/// used for another transfer. The answer and the new balances are committed together.
async fn transfer(txn: &Client, key: &str, transfer: Transfer) -> Result<Option<Answer>, Error> {
    let Transfer { from, to, amount } = transfer;
    let request = format!("{from} to {to}: {amount}");
    let first = "SELECT request = $2, status, answer FROM transfers WHERE key = $1";
    let values = [text(&key), text(&request)];
    if let Some(row) = txn.query_typed(first, &values).await?.first() {
        let is_same: bool = row.try_get(0)?;
        let answer = (row.try_get(1)?, row.try_get(2)?);
        return Ok(is_same.then_some(answer));
    }

    // FOR UPDATE locks both accounts: another transfer that touches one of them waits here instead of
    // failing. The order of the ids prevents deadlocks.
    let lock = "SELECT id, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE";
    let values = [int8(&from), int8(&to)];
    let mut balances = BTreeMap::new();
    for row in txn.query_typed(lock, &values).await? {
        balances.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let answer = decide(transfer, balances);
    let (status, answer_text) = &answer;
    let change = "UPDATE accounts SET balance = balance
        - CASE id WHEN $1 THEN $3 ELSE 0 END + CASE id WHEN $2 THEN $3 ELSE 0 END
        WHERE id IN ($1, $2) AND $4 = 200";
    let change_values = [int8(&from), int8(&to), int8(&amount), int8(status)];
    let store = "INSERT INTO transfers (key, request, status, answer, created_at)
        VALUES ($1, $2, $3, $4, current_timestamp)";
    let store_values = [text(&key), text(&request), int8(status), text(answer_text)];
    // Sent together, in this order: one round trip.
    let change = txn.execute_typed(change, &change_values);
    let store = txn.execute_typed(store, &store_values);
    let (changed, stored) = tokio::join!(biased; change, store);
    changed.and(stored)?;
    Ok(Some(answer))
}

fn int8(value: &i64) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::INT8)
}

fn text(value: &(dyn ToSql + Sync)) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::TEXT)
}

/// Returns the answer to a transfer between accounts with these balances.
fn decide(transfer: Transfer, mut balances: BTreeMap<i64, i64>) -> Answer {
    let Transfer { from, to, amount } = transfer;
    if let Some(account) = [from, to].iter().find(|id| !balances.contains_key(id)) {
        return (404, format!("there is no account {account}"));
    }
    let balance = balances[&from];
    if balance < amount {
        let reason = format!("which is not enough to transfer {amount}");
        return (409, format!("account {from} holds {balance}, {reason}"));
    }
    balances.insert(from, balance - amount);
    let Some(balance) = balances[&to].checked_add(amount) else {
        return (409, format!("account {to} cannot hold {amount} more"));
    };
    balances.insert(to, balance);
    // As text: JavaScript rounds numbers above 2^53.
    let balances: BTreeMap<_, _> = balances.iter().map(|(id, n)| (id, n.to_string())).collect();
    (200, json!({ "balances": balances }).to_string())
}

/// Reads a balance.
pub async fn balance(pool: Pool, deadline: Instant, account: i64) -> Result<Option<i64>, Problem> {
    let sql = "SELECT balance FROM accounts WHERE id = $1";
    let Ok(client) = timeout_at(deadline, pool.get()).await else {
        return Err(Problem::not_done("there is no connection to the database"));
    };
    let client = client.map_err(NoConnection)?;
    let values = [int8(&account)];
    let Ok(rows) = timeout_at(deadline, client.query_typed(sql, &values)).await else {
        // Taken out of the pool, the client closes its connection.
        drop(Object::take(client));
        return Err(Problem::not_done("the database does not answer"));
    };
    let row = rows.map_err(Database)?.pop();
    Ok(row
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(Database)?)
}
