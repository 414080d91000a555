//! One checked connection string for four drivers.
//!
//! A [`DatabaseUrl`] takes the connection string that CockroachDB's console shows, from the variable
//! `DATABASE_URL` or from `.env`, and renders it for `postgres`, `tokio-postgres`, Diesel and SeaORM: user, password,
//! hosts and database stay as they are written, and TLS is translated.
//!
//! # Layout
//!
//! - `database_url.rs`: [`DatabaseUrl`], with its sources and the strings for the drivers.
//! - `location.rs`: checks the part before the `?`: user, password, hosts and database.
//! - `parameters.rs`: checks the parameters after the `?`, and has the table of all of them.
//! - `tls.rs`: the OpenSSL connector for `postgres` and `tokio-postgres`.
//! - `explain.rs`: [`ConnectError`], and the advice for a driver's error.
//!
//! # Parameters
//!
//! The URL wins over the variable, and the variable over the default. The variables are those of the
//! process and of the nearest `.env`; the process wins. An empty value counts as not set. The
//! meanings are [libpq's](https://www.postgresql.org/docs/current/libpq-connect.html).
//!
//! | part or parameter | variable | default |
//! |---|---|---|
//! | user, required | `PGUSER` | |
//! | password | `PGPASSWORD` | none |
//! | host, required | `PGHOST` | |
//! | port | `PGPORT` | 26257 |
//! | database | `PGDATABASE` | `defaultdb` |
//! | `sslmode` | `PGSSLMODE` | `verify-full` |
//! | `sslrootcert`, a file or `system` | `PGSSLROOTCERT` | `~/.postgresql/root.crt` if it exists, else `system` |
//! | `sslcert` and `sslkey`, files | `PGSSLCERT`, `PGSSLKEY` | none |
//! | `options` for the server | `PGOPTIONS` | none |
//! | `application_name` | `PGAPPNAME` | the program's name |
//! | `connect_timeout`, in seconds for each host | `PGCONNECT_TIMEOUT` | 10 |
//!
//! # TLS
//!
//! The drivers verify the server's certificate, unless the string says `sslmode=disable`: that
//! connection is not encrypted. `require` and `verify-ca` mean `verify-full`: the chain and the
//! host's name are verified.
//!
//! # Differences from libpq
//!
//! - `sslmode=prefer` and `allow`, parameters that are not in the table, and Unix sockets are refused.
//! - `sslcert` and `sslkey` go together. A file that is named must exist.
//! - Only Diesel honours libpq's other variables (`PGCHANNELBINDING`, `PGSSLMINPROTOCOLVERSION`,
//!   `PGREQUIREAUTH`, `PGHOSTADDR`, …), a revocation list (`~/.postgresql/root.crl`) and the default
//!   files of a client certificate. Only Diesel and SeaORM read a password file.
//! - `postgres` and `tokio-postgres` try the next host of a list if a host cannot be reached, not if
//!   it accepts the connection and then does not answer.
//! - SeaORM (sqlx) takes one host. It reads only the first certificate of `sslrootcert`, and trusts
//!   the operating system's certificates too. A variable that sqlx would use against the string is
//!   refused.

#![warn(missing_docs)]

mod database_url;
mod explain;
mod location;
mod parameters;
#[cfg(test)]
mod tests;
mod tls;

pub use database_url::DatabaseUrl;
pub use explain::ConnectError;
