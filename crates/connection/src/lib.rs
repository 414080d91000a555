//! What to connect to: one connection string, one meaning, whichever driver reads it.
//!
//! The string that CockroachDB's console gives out works unchanged with all three drivers and means what
//! [libpq's documentation](https://www.postgresql.org/docs/current/libpq-connect.html) says it means. This
//! crate reads it and settles TLS; it knows no driver. Each driver's package turns a [`Config`] into a
//! connection:
//!
//! ```no_run
//! # fn main() -> Result<(), crdb_connection::ConnectError> {
//! let config = crdb_connection::Config::from_env()?;
//! println!("connecting to {config}"); // postgresql://user:***@host:26257/defaultdb?…
//! # Ok(()) }
//! ```
//!
//! # Where settings come from
//!
//! The first that has a value wins: the URL's own parts; then the `PG*` variable of the environment; then
//! that of the nearest `.env`, upwards from the working directory; then the default. [`Config`] says for
//! each parameter which variable and which default it has. A relative path in `.env` is relative to that
//! file.
//!
//! # sslmode
//!
//! | sslmode | encrypted | certificate's issuer checked | host name checked |
//! |---|---|---|---|
//! | `disable` | no | | |
//! | `prefer` | if the server offers it | only if a root certificate is given | no |
//! | `require` | yes | only if a root certificate is given | no |
//! | `verify-ca` | yes | yes | no |
//! | `verify-full`, the default | yes | yes | yes |
//!
//! Where `sslrootcert` is not given, it is `~/.postgresql/root.crt` if that is there, else, for
//! `verify-full`, the certificates that the operating system trusts. `sslrootcert=system` asks for those by
//! name. A Unix socket is never encrypted.
//!
//! # Where this is narrower than libpq, on purpose
//!
//! - URLs only, no keyword/value strings; no `~/.pgpass`, no service file.
//! - No `sslmode=allow`.
//! - A parameter that not all three drivers can honour is refused by its name (`channel_binding`,
//!   `target_session_attrs`, `hostaddr`, `sslcrl`, …), and so is the variable that stands for one that
//!   would make the connection safer (`PGCHANNELBINDING`, `PGREQUIREAUTH`, …).
//! - An `@` in the host or the database that is not percent-encoded is refused: it is a password's.
//! - A root certificate that is named and missing is an error in every mode but `disable`; so is a client
//!   certificate. libpq goes on without.
//! - `verify-ca` with the operating system's certificates is refused, as `sslrootcert=system` is there:
//!   anybody can get a certificate from those authorities.
//! - Keys that are encrypted with a pass phrase are refused.
//!
//! And wider: with `verify-full` and no root certificate at all, libpq fails, and this asks the operating
//! system.
//!
//! # What connecting costs
//!
//! Network round trips, besides TCP's own, counted in front of a server that asks for a SCRAM password over
//! TLS 1.3: `psql` 5, `postgres` 5, Diesel 7 (it sets the time zone and the encoding in statements of their
//! own), SeaORM 7 (the server is looked at first, see [`Probe`]). PostgreSQL before version 18 and OpenSSL
//! need one more each time to agree on a curve.

#![warn(missing_docs)]

mod attempt;
mod config;
#[cfg(test)]
mod config_tests;
mod environment;
mod error;
mod exit;
mod failure;
mod parameters;
mod probe;
mod settings;
mod tls;
mod url;
#[cfg(test)]
mod url_tests;

pub use attempt::{Attempts, ConnectError, Server};
pub use config::{Config, Host, Password, RootCert, SslMode};
pub use error::ConfigError;
pub use exit::exit;
pub use probe::{Probe, ProbeError};
pub use tls::{Check, Identity, Tls};
