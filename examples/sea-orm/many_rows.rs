//! Inserts and reads many rows of the table `customers`.

use futures_util::TryStreamExt;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseConnection, QueryOrder};

mod customer {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "customers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub name: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Inserts the customers that do not exist yet. Each 1,000 commit by themselves.
pub async fn insert_customers(
    db: &DatabaseConnection,
    customers: &[(i64, String)],
) -> Result<(), DbErr> {
    // A statement can have 65,535 parameters, here two for each row, and a message 16 MiB: with long
    // names, take fewer rows.
    for piece in customers.chunks(1000) {
        let rows = piece.iter().map(|(id, name)| customer::ActiveModel {
            id: Set(*id),
            name: Set(name.clone()),
        });
        customer::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::column(customer::Column::Id)
                    .do_nothing()
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Reads the customers up to the id `last` one by one, so they need not fit into memory.
pub async fn read_customers(
    db: &DatabaseConnection,
    last: i64,
    mut each: impl FnMut(i64, String),
) -> Result<(), DbErr> {
    let up_to_last = customer::Entity::find().filter(customer::Column::Id.lte(last));
    let in_order = up_to_last.order_by_asc(customer::Column::Id);
    let mut rows = in_order.stream(db).await?;
    while let Some(customer) = rows.try_next().await? {
        each(customer.id, customer.name);
    }
    Ok(())
}
