//! What most tests need: a database with accounts, a relay, and helpers to read and to assert.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::{AnyError, Driver, TransactionError};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault, Kind, Relay};

/// A new database on a server: the accounts 1 and 2 hold 100 each, and `ledger` is empty.
pub struct TestDatabase<'a> {
    pub cluster: &'a Cluster,
    pub relay: Relay,
    /// Connects to the server directly: the text of `url`.
    pub text: String,
    pub url: DatabaseUrl,
    /// Connects to the server through the relay.
    pub relayed: DatabaseUrl,
    pub name: String,
}

impl<'a> TestDatabase<'a> {
    pub fn on(cluster: &'a Cluster) -> TestDatabase<'a> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        cluster.execute(&format!("CREATE DATABASE {name}")).unwrap();
        if cluster.kind() == Kind::Postgres {
            cluster
                .execute(&format!("ALTER DATABASE {name} OWNER TO demo"))
                .unwrap();
        }
        let relay = Relay::start(cluster.port()).unwrap();
        let in_database = |url: String| url.replace("/defaultdb?", &format!("/{name}?"));
        let text = in_database(cluster.url());
        let relayed = in_database(cluster.url_through(&relay));
        let database = TestDatabase {
            cluster,
            relay,
            url: text.parse().unwrap(),
            text,
            relayed: relayed.parse().unwrap(),
            name,
        };
        database.execute(
            "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL); \
             CREATE TABLE ledger (entry INT8 PRIMARY KEY); \
             INSERT INTO accounts VALUES (1, 100), (2, 100)",
        );
        database
    }

    pub fn execute(&self, sql: &str) -> String {
        let owner = if self.cluster.kind() == Kind::Postgres {
            "SET ROLE demo; "
        } else {
            ""
        };
        self.cluster
            .execute_in(&self.name, &format!("{owner}{sql}"))
            .unwrap()
    }

    /// Reads all balances on a new connection, in the order of the ids.
    pub fn balances<D: Driver>(&self) -> Vec<i64> {
        self.read::<D>("SELECT balance AS value FROM accounts ORDER BY id")
    }

    /// Reads the ledger on a new connection, in the order of the entries.
    pub fn entries<D: Driver>(&self) -> Vec<i64> {
        self.read::<D>("SELECT entry AS value FROM ledger ORDER BY entry")
    }

    /// Reads the column `value` on a new connection.
    pub fn read<D: Driver>(&self, sql: &str) -> Vec<i64> {
        read(&mut D::connect(&self.url).unwrap(), sql)
    }
}

/// Connects; tries again while a server starts or stops.
pub fn connect<D: Driver>(url: &DatabaseUrl) -> D {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match D::connect(url) {
            Ok(driver) => return driver,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads the column `value` in a transaction of its own.
pub fn read<D: Driver>(driver: &mut D, sql: &str) -> Vec<i64> {
    let mut values = Vec::new();
    let op = |txn: &mut dyn crdb_conformance::Sql| {
        values = txn.read(sql)?;
        Ok::<_, OpError>(())
    };
    driver.transact(op).unwrap();
    values
}

/// Asserts that the connection can make a transfer.
pub fn assert_usable<D: Driver>(driver: &mut D) {
    let balances = "SELECT balance AS value FROM accounts WHERE id IN (1, 2) ORDER BY id";
    let before = read(driver, balances);
    driver.transfer(1, 2, 1).unwrap();
    assert_eq!(read(driver, balances), [before[0] - 1, before[1] + 1]);
    driver.transfer(2, 1, 1).unwrap();
}

/// Creates the function `raise(sqlstate, message)`, which fails with that error.
pub fn create_raise(database: &TestDatabase) {
    database.execute(
        "CREATE FUNCTION raise(sqlstate TEXT, message TEXT) RETURNS INT8 AS $$ BEGIN
             RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
         END $$ LANGUAGE plpgsql",
    );
}

/// The error of an `op` in the tests.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error("the statement failed")]
    Database(#[from] AnyError),
    #[error("the caller's own error")]
    Own,
}

/// Returns the error that `op` returned. Panics if the transaction failed in another way.
pub fn operation(failed: TransactionError) -> OpError {
    match failed {
        TransactionError::Operation(error) => {
            *error.downcast().expect("the type that the caller gave")
        }
        other => panic!("not the caller's error: {other}"),
    }
}

/// Returns the servers to test on: PostgreSQL, and CockroachDB if there is a binary.
pub fn clusters() -> impl Iterator<Item = &'static Cluster> {
    static CLUSTERS: LazyLock<Vec<Cluster>> = LazyLock::new(|| {
        let start = |kind| Cluster::start_as(kind).unwrap();
        Kind::available().unwrap().into_iter().map(start).collect()
    });
    CLUSTERS.iter()
}

/// Returns the CockroachDB server, for tests that are ignored where there is none.
pub fn cockroach() -> &'static Cluster {
    let mut cockroach = clusters().filter(|cluster| cluster.kind() == Kind::Cockroach);
    cockroach
        .next()
        .expect("there is no CockroachDB binary: scripts/setup --cockroach downloads one")
}

/// Returns a PostgreSQL server without TLS: the relay can record what clients send, and a test can
/// create functions in PL/pgSQL.
pub fn readable_cluster() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> =
        LazyLock::new(|| Cluster::start_with_fault(Fault::NoTls).unwrap());
    &CLUSTER
}

/// Declares one test for each driver and each of these generic functions.
macro_rules! for_each_driver {
    ($($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        crdb_conformance::for_each_driver!(
            [crate::test_database::tests_of_driver] [$($(#[$attribute])* $test),+]
        );
    };
}
pub(crate) use for_each_driver;

/// Declares one test for each asynchronous driver and each of these generic functions.
macro_rules! for_each_asynchronous_driver {
    ($($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        mod asynchronous {
            $(use super::$test;)+
            crdb_conformance::for_each_driver!(
                [crate::test_database::tests_of_asynchronous_driver] [$($(#[$attribute])* $test),+]
            );
        }
    };
}
pub(crate) use for_each_asynchronous_driver;

macro_rules! tests_of_driver {
    ($kind:ident $module:ident $driver:ident [$($(#[$attribute:meta])* $test:ident),+]) => {
        mod $module {
            $(
                #[test]
                $(#[$attribute])*
                fn $test() {
                    super::$test::<crdb_conformance::$driver>();
                }
            )+
        }
    };
}
pub(crate) use tests_of_driver;

macro_rules! tests_of_asynchronous_driver {
    (asynchronous $($rest:tt)+) => {
        crate::test_database::tests_of_driver!(asynchronous $($rest)+);
    };
    (blocking $($rest:tt)+) => {};
}
pub(crate) use tests_of_asynchronous_driver;

/// Asserts that a transaction failed with this variant of `TransactionError`.
macro_rules! assert_outcome {
    ($result:expr, $variant:ident, $context:expr) => {
        let failed = &$result;
        let is_it = matches!(failed, Err(crdb_conformance::TransactionError::$variant(_)));
        assert!(is_it, "{}: {failed:?}", $context);
    };
}
pub(crate) use assert_outcome;
