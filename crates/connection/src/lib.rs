//! What to connect to: one connection string, one meaning, whichever driver reads it.

#![warn(missing_docs)]

mod attempt;
mod config;
mod environment;
mod error;
mod exit;
mod failure;
mod parameters;
mod probe;
mod settings;
mod tls;
mod url;

pub use attempt::{Attempts, ConnectError, Server};
pub use config::{Config, Host, Password, RootCert, SslMode};
pub use error::ConfigError;
pub use exit::exit;
pub use probe::ProbeError;
pub use tls::{Check, Identity, Tls};
