//! One checked connection string for all drivers.
//!
//! A [`DatabaseUrl`] takes the connection string that CockroachDB's console shows, from the variable
//! `DATABASE_URL` or from `.env`, and renders it for each driver: what the drivers read
//! differently, which is TLS, is translated.
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
//! | `connect_timeout`, in seconds for each host, until the login | `PGCONNECT_TIMEOUT` | 10 |
//! | `load_balance_hosts`: `random` tries the hosts of a list in a random order | `PGLOADBALANCEHOSTS` | `disable` |
//!
//! As in libpq, the first five can also be parameters: `user`, `password`, `host`, `port`, `dbname`.
//!
//! # TLS
//!
//! The drivers verify the chain of the server's certificate and the host's name, also with
//! `sslmode=require` and `verify-ca`. `sslmode=disable` does not encrypt.
//!
//! # Differences from libpq
//!
//! - `sslmode=prefer` and `allow`, other parameters, and Unix sockets are refused. A part of the URL
//!   that is also a parameter is refused.
//! - After every error the next host of a list is tried, also after a rejected login. As in libpq,
//!   Diesel's `connect_timeout` is for each address of a host.
//! - Only Diesel honours libpq's other variables (`PGREQUIREAUTH`, …), a revocation list and the
//!   default files of a client certificate. Diesel, sqlx and SeaORM read a password file.
//! - sqlx, which SeaORM uses too, takes one host. It reads only the first certificate of
//!   `sslrootcert`, and trusts the operating system's certificates too. It reads `PGSSLROOTCERT`,
//!   `PGSSLCERT`, `PGSSLKEY` and `PGOPTIONS` by itself; the first three are refused if they name
//!   what the string leaves out.

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
