//! [`Facts`]: what differs between the drivers, as data.

/// What differs between the drivers, as data. Tests, the comparison and the documents read it.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The name of the driver's directory in `examples`. The names of its samples begin with it.
    pub name: &'static str,
    /// The name on the pages and in the report.
    pub title: &'static str,
    /// The crates that only this driver's package compiles, and its foundations.
    pub crates: &'static [&'static str],
    /// The colour in the report, on a light and on a dark background.
    pub colours: [&'static str; 2],
    /// What a reader of its figures should know. Empty for most drivers.
    pub remark: &'static str,
    /// The round trips that the pages and the tests name.
    pub round_trips: RoundTrips,
    /// The messages that begin the first run of a transaction. Every other run begins with one.
    pub begin: &'static [&'static str],
    /// The messages that commit.
    pub commit: &'static [&'static str],
    /// `connect` returns a pool, which replaces a connection that is lost.
    pub has_pool: bool,
    /// A pool that cannot connect tries again until `connect_timeout` is over.
    pub waits_for_the_server: bool,
    /// `connect` takes several hosts.
    pub takes_host_list: bool,
    /// The driver also trusts the authorities of the operating system if `sslrootcert` names a file.
    pub trusts_system_roots: bool,
    /// The driver passes on the SQLSTATE of each error, and not only those of constraints.
    pub passes_on_sqlstates: bool,
}

impl Facts {
    /// Returns the name of the sample `basic` or `transfer`.
    pub fn sample(&self, kind: &str) -> String {
        format!("{}-{kind}", self.name)
    }
}

/// Network round trips.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrips {
    /// To connect, with TLS 1.3 and a SCRAM password. PostgreSQL before 18 takes one more.
    pub connect: u64,
    /// Of a transfer in steady state, those included that a pool makes after it.
    pub transfer: u64,
    /// Of a transaction of three statements that fails in a first statement and is run once more.
    pub retry: u64,
}

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
pub(crate) const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";
