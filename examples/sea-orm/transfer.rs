//! Moves 100 from account 3 to account 4: both balances change, or neither does.
//!
//! Creates the table `accounts` where it is not there yet, and writes its rows 3 and 4.

use crdb_connection::Config;
use crdb_sea_orm::{connect, run_transaction};
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter, QueryOrder, Schema,
};

mod account {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub balance: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    let db = connect(&config).await?;

    let schema = Schema::new(db.get_database_backend());
    db.execute(
        schema
            .create_table_from_entity(account::Entity)
            .if_not_exists(),
    )
    .await?;
    let rows = [(3, 1000), (4, 250)];
    account::Entity::insert_many(rows.map(|(id, balance)| account::ActiveModel {
        id: Set(id),
        balance: Set(balance),
    }))
    .on_conflict(
        OnConflict::column(account::Column::Id)
            .update_column(account::Column::Balance)
            .to_owned(),
    )
    .exec_without_returning(&db)
    .await?;

    run_transaction(&db, async |txn| transfer_funds(txn, 3, 4, 100).await).await?;

    let rows = account::Entity::find()
        .filter(account::Column::Id.is_in([3, 4]))
        .order_by_asc(account::Column::Id)
        .all(&db)
        .await?;
    for account::Model { id, balance } in rows {
        println!("{id} {balance}");
    }

    db.close().await?;
    Ok(())
}

/// Moves `amount` from one account to the other, or refuses and changes nothing.
pub async fn transfer_funds(
    txn: &DatabaseTransaction,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<(), TransferError> {
    if amount <= 0 {
        return Err(TransferError::InvalidAmount { amount });
    }
    if from == to {
        return Err(TransferError::SameAccount { account: from });
    }
    let balance = account::Entity::find_by_id(from)
        .one(txn)
        .await?
        .ok_or(TransferError::NoSuchAccount { account: from })?
        .balance;
    if balance < amount {
        return Err(TransferError::InsufficientFunds {
            account: from,
            balance,
            amount,
        });
    }
    for (account, change) in [(from, -amount), (to, amount)] {
        let updated = account::Entity::update_many()
            .col_expr(
                account::Column::Balance,
                account::Column::Balance.into_expr().add(change),
            )
            .filter(account::Column::Id.eq(account))
            .exec(txn)
            .await?;
        if updated.rows_affected == 0 {
            return Err(TransferError::NoSuchAccount { account });
        }
    }
    Ok(())
}

/// Why no money was moved.
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
    #[error("account {account} cannot transfer to itself")]
    SameAccount { account: i64 },
    #[error("the transfer failed in the database")]
    Database(#[from] DbErr),
}
