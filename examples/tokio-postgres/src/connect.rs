//! stub until the seam is there
use crdb_connection::{Config, ConnectError};
use deadpool::managed::{Manager, Metrics, RecycleResult};
/// A pool
pub type Pool = deadpool::managed::Pool<ConnectionManager>;
/// M
#[derive(Debug)]
pub struct ConnectionManager;
impl Manager for ConnectionManager {
    type Type = tokio_postgres::Client;
    type Error = ConnectError;
    async fn create(&self) -> Result<tokio_postgres::Client, ConnectError> {
        todo!()
    }
    async fn recycle(
        &self,
        _: &mut tokio_postgres::Client,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        Ok(())
    }
}
/// C
pub async fn connect(_: &Config) -> Result<Pool, ConnectError> {
    todo!()
}
