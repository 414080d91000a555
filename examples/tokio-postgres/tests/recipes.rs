//! What only this driver's recipes do. The tests of all drivers' recipes are in `crates/conformance`.

use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Kind};
use crdb_tokio_postgres::{connect, pool_builder};
use deadpool_postgres::Pool;
use recipes::*;

#[allow(dead_code)]
#[path = "../recipes.rs"]
mod recipes;
#[allow(dead_code)]
#[path = "../transfer.rs"]
mod transfer;

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap().into_iter();
    kinds.map(|kind| Cluster::start_as(kind).unwrap())
}

/// Creates the accounts 1 to 4 and returns a pool.
async fn create_accounts(cluster: &Cluster) -> Pool {
    let pool = connect(&cluster.url().parse().unwrap()).await.unwrap();
    let client = pool.get().await.unwrap();
    for sql in [
        "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL)",
        "CREATE TABLE requests (id INT8 PRIMARY KEY)",
        "INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100), (4, 0)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    drop(client);
    pool
}

async fn balances(pool: &Pool) -> Vec<i64> {
    let client = pool.get().await.unwrap();
    let sql = "SELECT balance FROM accounts ORDER BY id";
    let rows = client.query_typed(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get("balance")).collect()
}

#[tokio::test]
async fn a_service_answers_more_requests_than_it_has_connections() {
    for cluster in clusters() {
        drop(create_accounts(&cluster).await);
        let url: DatabaseUrl = cluster.url().parse().unwrap();
        let service = Service {
            pool: pool_builder(&url).unwrap().max_size(16).build().unwrap(),
        };
        // The other connections are opened with the new password.
        drop(service.pool.get().await.unwrap());
        let alter = "ALTER USER demo WITH PASSWORD 'new'";
        cluster.execute(alter).unwrap();
        url.set_password("new");
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { service.transfer(1, 2, 1).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), "transferred");
        }
        assert_eq!(service.pool.status().size, 16);
        assert_eq!(balances(&service.pool).await, [50, 150, 100, 0]);
        let refused = service.transfer(1, 2, 60).await;
        assert_eq!(refused, "refused: the account holds 50");
        let refused = service.transfer(1, 2, 0).await;
        assert!(refused.starts_with("not transferred: an amount"));
    }
}
