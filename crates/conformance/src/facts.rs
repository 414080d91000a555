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
    /// The driver refuses a password that was hashed more than 100,000 times.
    pub limits_scram_iterations: bool,
    /// The driver passes on the SQLSTATE of each error, and not only those of constraints.
    pub passes_on_sqlstates: bool,
    /// What the driver says if it cannot connect.
    pub words: Words,
    /// Pieces of `src/transaction.rs` that only this driver has, each with the text that the others have
    /// in its place.
    pub own_code: &'static [(&'static str, &'static str)],
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

/// What a driver says if it cannot connect: a piece of its message.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Words {
    pub unknown_host: &'static str,
    pub no_answer: &'static str,
    pub no_tls: &'static str,
    pub unknown_authority: &'static str,
    pub expired: &'static str,
    pub other_name: &'static str,
    pub no_password: &'static str,
}

/// The words of OpenSSL and of the standard library, which most drivers pass on.
pub(crate) const WORDS: Words = Words {
    unknown_host: "lookup address",
    no_answer: "timed out",
    no_tls: "support TLS",
    unknown_authority: "unable to get local issuer certificate",
    expired: "certificate has expired",
    other_name: "ostname mismatch",
    no_password: "password missing",
};

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT cockroach_restart";
pub(crate) const COMMIT: &str = "RELEASE SAVEPOINT cockroach_restart; COMMIT";
