//! The transaction: one transfer for each key.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// A transfer that a client requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub from: i64,
    pub to: i64,
    pub amount: i64,
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
        key TEXT PRIMARY KEY, source INT8 NOT NULL, target INT8 NOT NULL, amount INT8 NOT NULL,
        status INT8 NOT NULL, answer TEXT NOT NULL)";
    client.batch_execute(transfers).await?;
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
    let first = "SELECT source, target, amount, status, answer FROM transfers WHERE key = $1";
    if let Some(row) = txn.query_typed(first, &[(&key, Type::TEXT)]).await?.first() {
        let (from, to, amount) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (status, text) = (row.try_get(3)?, row.try_get(4)?);
        let is_same = transfer == Transfer { from, to, amount };
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
    let store = "INSERT INTO transfers (key, source, target, amount, status, answer)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let row: [(&(dyn ToSql + Sync), Type); 6] = [
        (&key, Type::TEXT),
        (&from, Type::INT8),
        (&to, Type::INT8),
        (&amount, Type::INT8),
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
    let texts = balances
        .iter()
        .map(|(account, balance)| format!(r#""{account}": "{balance}""#));
    answer(200, format!("{{{}}}", texts.collect::<Vec<_>>().join(", ")))
}

/// Reads a balance.
pub async fn balance(client: &Client, account: i64) -> Result<Option<i64>, Error> {
    let sql = "SELECT balance FROM accounts WHERE id = $1";
    let rows = client.query_typed(sql, &[(&account, Type::INT8)]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}
