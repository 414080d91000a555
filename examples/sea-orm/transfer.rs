//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! `cargo run --example sea-orm-transfer`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 3 and 4.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_sea_orm::{connect, run_transaction};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, Schema};
use sea_orm::{DatabaseConnection, DatabaseTransaction};

mod account {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub balance: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = DatabaseUrl::from_env()?;
    let db = connect(&url).await?;

    create_accounts(&db).await.map_err(explain_accounts)?;
    run_transaction(&db, async move |txn| transfer_funds(txn, 3, 4, 100).await)
        .await
        .map_err(explain_accounts)?;
    print_balances(&db).await?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
async fn create_accounts(db: &DatabaseConnection) -> Result<(), DbErr> {
    let schema = Schema::new(db.get_database_backend());
    let mut table = schema.create_table_from_entity(account::Entity);
    db.execute(table.if_not_exists()).await?;

    let rows = [(3, 1000), (4, 250)].map(|(id, balance)| account::ActiveModel {
        id: Set(id),
        balance: Set(balance),
    });
    let mut reset_balance = OnConflict::column(account::Column::Id);
    reset_balance.update_column(account::Column::Balance);
    account::Entity::insert_many(rows)
        .on_conflict(reset_balance)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Moves `amount` from one account to another. After an error, the transaction must be rolled back.
pub async fn transfer_funds(
    txn: &DatabaseTransaction,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    if amount <= 0 {
        return Err(TransferError::InvalidAmount { amount });
    }
    // FOR UPDATE locks both accounts: another transfer that touches one of them waits here instead of
    // failing. The order of the ids prevents deadlocks.
    let rows = account::Entity::find()
        .filter(account::Column::Id.is_in([from, to]))
        .order_by_asc(account::Column::Id)
        .lock_exclusive()
        .all(txn)
        .await?;
    let balance_of = |account| match rows.iter().find(|row| row.id == account) {
        Some(row) => Ok(row.balance),
        None => Err(TransferError::NoSuchAccount { account }),
    };
    let balance = balance_of(from)?;
    balance_of(to)?;
    if balance < amount {
        return Err(TransferError::InsufficientFunds {
            account: from,
            balance,
            amount,
        });
    }
    for (account, change) in [(from, -amount), (to, amount)] {
        let balance = account::Column::Balance;
        account::Entity::update_many()
            .col_expr(balance, balance.into_expr().add(change))
            .filter(account::Column::Id.eq(account))
            .exec(txn)
            .await?;
    }
    Ok(())
}

async fn print_balances(db: &DatabaseConnection) -> Result<(), DbErr> {
    let rows = account::Entity::find()
        .filter(account::Column::Id.is_in([3, 4]))
        .order_by_asc(account::Column::Id)
        .all(db)
        .await?;
    for account::Model { id, balance } in rows {
        println!("{id} {balance}");
    }
    Ok(())
}

/// The reason why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("account {account} holds {balance}, which is not enough to transfer {amount}")]
    InsufficientFunds {
        account: i64,
        balance: i64,
        amount: i64,
    },
    #[error("there is no account {account}")]
    NoSuchAccount { account: i64 },
    #[error("an amount to transfer must be positive, and {amount} is not")]
    InvalidAmount { amount: i64 },
    #[error("the transfer failed in the database")]
    Database(#[from] DbErr),
}
