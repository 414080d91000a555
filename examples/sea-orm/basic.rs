//! Writes two accounts and reads them back; each statement commits by itself.
//!
//! Creates the table `accounts` where it is not there yet, and writes its rows 1 and 2.

use crdb_connection::Config;
use crdb_sea_orm::connect;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait,
    QueryFilter, QueryOrder, Schema,
};

pub mod account {
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

    write_accounts(&db).await?;
    for account::Model { id, balance } in read_accounts(&db).await? {
        println!("{id} {balance}");
    }

    db.close().await?;
    Ok(())
}

/// ON CONFLICT lets the sample run again: the rows are set back instead of being refused.
pub async fn write_accounts(db: &DatabaseConnection) -> Result<(), DbErr> {
    let schema = Schema::new(db.get_database_backend());
    db.execute(
        schema
            .create_table_from_entity(account::Entity)
            .if_not_exists(),
    )
    .await?;

    let rows = [(1, 1000), (2, 250)];
    account::Entity::insert_many(rows.map(|(id, balance)| account::ActiveModel {
        id: Set(id),
        balance: Set(balance),
    }))
    .on_conflict(
        OnConflict::column(account::Column::Id)
            .update_column(account::Column::Balance)
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    Ok(())
}

/// The two rows of this sample, in the order of their ids.
pub async fn read_accounts(db: &DatabaseConnection) -> Result<Vec<account::Model>, DbErr> {
    account::Entity::find()
        .filter(account::Column::Id.is_in([1, 2]))
        .order_by_asc(account::Column::Id)
        .all(db)
        .await
}
