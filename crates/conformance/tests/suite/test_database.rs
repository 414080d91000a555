//! What most tests need: a database with accounts, a relay, and helpers to read and to assert.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crdb_conformance::{AnyError, Driver, Sql};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault, Kind, Relay};

/// A new database on a server: the accounts 1 and 2 hold 100 each, and the other tables are empty.
pub struct TestDatabase<'a> {
    pub cluster: &'a Cluster,
    pub relay: Relay,
    pub name: String,
    /// Connects to the server directly.
    pub url: DatabaseUrl,
    pub text: String,
    /// Connects to the server through the relay.
    pub relayed: DatabaseUrl,
    pub relayed_text: String,
}

const TABLES: &str = "
    CREATE TABLE accounts (id INT8 PRIMARY KEY, balance INT8 NOT NULL);
    CREATE TABLE ledger (entry INT8 PRIMARY KEY);
    CREATE TABLE requests (id INT8 PRIMARY KEY);
    CREATE TABLE customers (id INT8 PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO accounts VALUES (1, 100), (2, 100)";

/// `raise(sqlstate, message)` fails with that error, and so does the commit after it was inserted into
/// the table `at_commit`.
const FAILURES: &str = "
    CREATE FUNCTION raise(sqlstate TEXT, message TEXT) RETURNS INT8 LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
    END $$;
    CREATE TABLE at_commit (sqlstate TEXT, message TEXT);
    CREATE FUNCTION answer() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
        PERFORM raise(NEW.sqlstate, NEW.message);
    END $$;
    CREATE CONSTRAINT TRIGGER answer AFTER INSERT ON at_commit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION answer()";

impl<'a> TestDatabase<'a> {
    pub fn on(cluster: &'a Cluster) -> TestDatabase<'a> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        cluster.execute(&format!("CREATE DATABASE {name}")).unwrap();
        let relay = Relay::start(cluster.port()).unwrap();
        let in_database = |url: String| url.replace("/defaultdb?", &format!("/{name}?"));
        let text = in_database(cluster.url());
        let relayed_text = in_database(cluster.url_through(&relay));
        let database = TestDatabase {
            url: text.parse().unwrap(),
            relayed: relayed_text.parse().unwrap(),
            cluster,
            relay,
            name,
            text,
            relayed_text,
        };
        if cluster.kind() == Kind::Postgres {
            let owner = format!("ALTER DATABASE {} OWNER TO demo", database.name);
            cluster.execute(&owner).unwrap();
            database.execute(FAILURES);
        }
        database.execute(TABLES);
        database
    }

    /// Runs SQL as the owner of the database, and returns the rows as text.
    pub fn execute(&self, sql: &str) -> String {
        let owner = match self.cluster.kind() {
            Kind::Postgres => "SET ROLE demo; ",
            Kind::Cockroach => "",
        };
        let result = self
            .cluster
            .execute_in(&self.name, &format!("{owner}{sql}"));
        result.unwrap()
    }

    /// Reads all balances on a new connection, in the order of the ids.
    pub fn balances<D: Driver>(&self) -> Vec<i64> {
        self.read::<D>("SELECT balance AS value FROM accounts ORDER BY id")
    }

    /// Reads the column `value` on a new connection.
    pub fn read<D: Driver>(&self, sql: &str) -> Vec<i64> {
        let mut values = Vec::new();
        let read = |txn: &mut dyn Sql| {
            values = txn.read(sql)?;
            Ok::<_, OpError>(())
        };
        D::connect(&self.url).unwrap().transact(read).unwrap();
        values
    }

    /// Runs `op` with the number of its run, on a new connection through the relay. Asserts the
    /// beginning of the result, the number of runs, and the entries in the ledger afterwards.
    #[track_caller]
    pub fn assert_transaction<D: Driver>(
        &self,
        mut op: impl FnMut(&mut dyn Sql, u32) -> Result<(), OpError>,
        (expected, expected_runs, entries): (&str, u32, &[i64]),
    ) -> D {
        let mut driver = D::connect(&self.relayed).unwrap();
        let mut runs = 0;
        let result = driver.transact(|txn| {
            runs += 1;
            op(txn, runs)
        });
        let result = format!("{result:?}");
        assert!(result.starts_with(expected), "{result}, not {expected}");
        assert_eq!(runs, expected_runs);
        let ledger = self.read::<D>("SELECT entry AS value FROM ledger ORDER BY entry");
        assert_eq!(ledger, entries);
        driver
    }
}

/// Asserts that the connection can make a transfer.
pub fn assert_usable<D: Driver>(driver: &mut D) {
    for (from, to) in [(1, 2), (2, 1)] {
        driver.transfer(from, to).unwrap();
    }
}

/// The error of an `op` in the tests.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error("the statement failed")]
    Database(#[from] AnyError),
    #[error("the caller's own error")]
    Own,
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

/// Returns a PostgreSQL server without TLS: the relay can record what clients send, and `raise` and
/// `at_commit` are there.
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

/// Declares the tests for this driver if it is asynchronous.
macro_rules! tests_of_asynchronous_driver {
    (asynchronous $($rest:tt)+) => {
        crate::test_database::tests_of_driver!(asynchronous $($rest)+);
    };
    (blocking $($rest:tt)+) => {};
}
pub(crate) use tests_of_asynchronous_driver;
