//! Creates two accounts and prints their balances. Each statement commits by itself.
//!
//! `cargo run --example sea-orm-basic`
//!
//! Creates the table `accounts` if it does not exist, and writes its rows 1 and 2.

use crdb_connection::{DatabaseUrl, explain_accounts};
use crdb_sea_orm::connect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, DatabaseConnection, QueryOrder, Schema};

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
    print_balances(&db).await.map_err(explain_accounts)?;
    Ok(())
}

/// Creates two accounts, or resets their balances if they exist: the sample can run again.
async fn create_accounts(db: &DatabaseConnection) -> Result<(), DbErr> {
    let schema = Schema::new(db.get_database_backend());
    let mut table = schema.create_table_from_entity(account::Entity);
    db.execute(table.if_not_exists()).await?;

    let rows = [(1, 1000), (2, 250)].map(|(id, balance)| account::ActiveModel {
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

async fn print_balances(db: &DatabaseConnection) -> Result<(), DbErr> {
    let rows = account::Entity::find()
        .filter(account::Column::Id.is_in([1, 2]))
        .order_by_asc(account::Column::Id)
        .all(db)
        .await?;
    for account::Model { id, balance } in rows {
        println!("{id} {balance}");
    }
    Ok(())
}
