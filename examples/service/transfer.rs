//! The transaction: one transfer for each key.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

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

/// Creates the tables. Each statement commits by itself.
pub async fn create_tables(pool: &Pool) -> anyhow::Result<()> {
    let client = pool.get().await?;
    let accounts =
        "CREATE TABLE IF NOT EXISTS accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)";
    client.batch_execute(accounts).await?;
    let transfers = "CREATE TABLE IF NOT EXISTS transfers (
        key TEXT PRIMARY KEY, request TEXT NOT NULL, status INT8 NOT NULL, answer TEXT NOT NULL)";
    client.batch_execute(transfers).await?;
    // Tables of these names, from another program, may have columns of other types.
    let columns = "SELECT id, balance, status, key, request, answer FROM accounts, transfers";
    let columns = client.prepare(columns).await?;
    let types = columns.columns().iter().map(|column| column.type_());
    let expected = [[&Type::INT8; 3], [&Type::TEXT; 3]].concat();
    anyhow::ensure!(types.eq(expected), "a column has another type");
    Ok(())
}

/// Makes a transfer, or returns the answer that was given to this key. Returns `None` if the key was
/// used for another transfer. The answer and the new balances are committed together.
pub async fn transfer(
    txn: &Client,
    key: &str,
    transfer: Transfer,
) -> Result<Option<Answer>, Error> {
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
    if answer.status == 200 {
        for (account, change) in [(from, -amount), (to, amount)] {
            let update = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
            let values = [(&change as _, Type::INT8), (&account as _, Type::INT8)];
            txn.execute_typed(update, &values).await?;
        }
    }
    let store = "INSERT INTO transfers (key, request, status, answer) VALUES ($1, $2, $3, $4)";
    let row: [(&(dyn ToSql + Sync), Type); 4] = [
        (&key, Type::TEXT),
        (&request, Type::TEXT),
        (&answer.status, Type::INT8),
        (&answer.text, Type::TEXT),
    ];
    txn.execute_typed(store, &row).await?;
    Ok(Some(answer))
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
pub async fn balance(pool: &Pool, account: i64) -> anyhow::Result<Option<i64>> {
    let sql = "SELECT balance FROM accounts WHERE id = $1";
    let client = pool.get().await?;
    let rows = client.query_typed(sql, &[(&account, Type::INT8)]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
