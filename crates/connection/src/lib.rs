#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod database_url;
mod explain;
mod location;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use database_url::DatabaseUrl;
pub use explain::{ConnectError, explain_accounts};
