//! The settings of a connection to CockroachDB, with the same meaning for every driver.
//!
//! The connection string that CockroachDB's console gives out works unchanged with every driver and
//! means what [libpq's documentation](https://www.postgresql.org/docs/current/libpq-connect.html)
//! says. This crate reads it, resolves TLS and finds a server; it knows no driver. Each driver's
//! package turns a [`Server`] into a connection:
//!
//! ```no_run
//! # type Connection = std::net::TcpStream;
//! use crdb_connection::{AttemptError, Config, ConnectError, Server};
//!
//! fn connect(config: &Config) -> Result<Connection, ConnectError> {
//!     config.connect_with(connect_to)
//! }
//!
//! fn connect_to(server: Server) -> Result<Connection, AttemptError> {
//!     // Pass server.host, server.hostaddr(), server.config and server.tls to the driver.
//! #   Ok(std::net::TcpStream::connect((server.host.name.as_str(), server.host.port))?)
//! }
//!
//! # fn main() -> Result<(), ConnectError> {
//! let connection = connect(&Config::from_env()?)?;
//! # Ok(()) }
//! ```
//!
//! # Layout
//!
//! - `config`: [`Config`], the settings; `error`: [`ConfigError`], what is wrong with them.
//! - `settings`: from the URL (`url`), the variables (`environment`) and the defaults to a
//!   [`Config`]; `parameters`: the supported parameters and the refused variables.
//! - `tls`: [`Tls`], the policy; `pem`: reading certificate and key files.
//! - `connect`: [`Config::connect_with`], the search for a server, and [`ConnectError`].
//! - `failure`: [`Kind`], why an attempt failed; `advice`: the words for it; `certificate`: a look
//!   at the server to find the exact reason.
//!
//! # Where settings come from
//!
//! The first source that has a value wins: the URL; then the `PG*` variable of the environment;
//! then that of the nearest `.env`, upwards from the working directory; then the default.
//! [`Config`] has the variable and the default of each parameter. A `PGHOST` in the environment
//! wins over a `DATABASE_URL` in `.env`, and so does a `PGSSLMODE`. The password and the sslmode in
//! `.env` are not used for a server that is named elsewhere. A relative path in `.env` is relative
//! to that file.
//!
//! # sslmode
//!
//! | sslmode | encrypted | certificate chain verified | host name verified |
//! |---|---|---|---|
//! | `disable` | no | | |
//! | `require` | yes | only if a root certificate is given | no |
//! | `verify-ca` | yes | yes | no |
//! | `verify-full`, the default | yes | yes | yes |
//!
//! Without `sslrootcert`, the root certificate is `~/.postgresql/root.crt` if it exists, else, with
//! `verify-full`, those that the operating system trusts. `sslrootcert=system` names the latter.
//!
//! SeaORM is stricter: with a root certificate, it verifies the host name in every mode, and it
//! refuses a file with several certificates, and `options` with a backslash. It also accepts a
//! certificate for the host's name from an authority that the operating system trusts. If a name
//! has several addresses, sqlx tries them in the system's order and within one time limit.
//!
//! # Where this differs from libpq
//!
//! - URLs only, no keyword/value strings; no password file, no service file.
//! - No `sslmode=prefer` and `allow`, which protect from nothing, and no Unix sockets.
//! - A parameter that not every driver can honour is refused by its name (`channel_binding`,
//!   `hostaddr`, `sslcrl`, …), and so is its variable, unless its value changes nothing
//!   (`PGCHANNELBINDING=prefer`).
//! - An `@` that is not percent-encoded is refused: it may be part of a password.
//! - A root or client certificate that is named and missing is an error in every mode but
//!   `disable`; libpq connects without it.
//! - `verify-ca` with the operating system's certificates is refused, like `sslrootcert=system`
//!   with it: anyone can get a certificate from those authorities.
//! - `~/.postgresql/root.crl` is refused, since only libpq would read it.
//! - Keys that are encrypted with a pass phrase are refused, and keys that a group can read, even if
//!   root owns them.
//! - With `verify-full` and no root certificate, libpq fails; this crate uses the operating
//!   system's certificates.
//!
//! # What connecting costs
//!
//! Network round trips besides TCP's own, with a SCRAM password over TLS 1.3: `psql`, `postgres`,
//! `tokio-postgres` and SeaORM 5, Diesel 7 (it sets the time zone and the encoding in statements of
//! its own).
//! PostgreSQL before version 18 and OpenSSL need one more each time to agree on a curve.

#![warn(missing_docs)]

mod advice;
mod certificate;
mod config;
#[cfg(test)]
mod config_tests;
mod connect;
#[cfg(test)]
mod connect_tests;
mod environment;
mod error;
mod failure;
mod parameters;
mod pem;
mod settings;
mod tls;
mod url;
#[cfg(test)]
mod url_tests;

pub use config::{Config, Host, Password, RootCert, SslMode};
pub use connect::{ConnectError, Server};
pub use error::ConfigError;
pub use failure::{AttemptError, Kind};
pub use pem::{Identity, Roots};
pub use tls::{Tls, Verify};
