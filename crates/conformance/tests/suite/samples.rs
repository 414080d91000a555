//! Runs the eight samples as a user does: what they print on success and on failure.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crdb_conformance::sample::{BASIC_SAMPLES, Ended, TRANSFER_SAMPLES, run};
use crdb_local_cluster::{Cluster, Kind};

use crate::markdown::expected_output;

/// Returns the names of all samples.
fn samples() -> impl DoubleEndedIterator<Item = &'static str> {
    BASIC_SAMPLES.into_iter().chain(TRANSFER_SAMPLES)
}

static CLUSTERS: LazyLock<Mutex<Vec<Cluster>>> = LazyLock::new(|| {
    let start = |kind| Cluster::start_as(kind).unwrap();
    Mutex::new(Kind::available().unwrap().into_iter().map(start).collect())
});

/// Returns the servers, to one test at a time: on PostgreSQL, two concurrent CREATE TABLE IF NOT
/// EXISTS can fail.
fn clusters() -> MutexGuard<'static, Vec<Cluster>> {
    CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn each_sample_prints_the_same_lines_in_every_run_and_any_order() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters().iter() {
        for sample in samples().chain(samples().rev()) {
            let ended = run(
                sample,
                directory.path(),
                &[("DATABASE_URL", &cluster.url())],
            );
            let expected = Ended {
                status: Some(0),
                stdout: expected_output(sample),
                stderr: String::new(),
            };
            assert_eq!(ended, expected, "{sample} on {:?}", cluster.kind());
        }
    }
}

#[test]
fn the_samples_leave_other_rows_alone() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters().iter() {
        let url = cluster.url();
        run(
            "postgres-basic",
            directory.path(),
            &[("DATABASE_URL", &url)],
        );
        cluster
            .execute("INSERT INTO accounts (id, balance) VALUES (77, 7) ON CONFLICT DO NOTHING")
            .unwrap();
        for sample in samples() {
            run(sample, directory.path(), &[("DATABASE_URL", &url)]);
        }
        let row = cluster
            .execute("SELECT 'balance ' || balance::TEXT FROM accounts WHERE id = 77")
            .unwrap();
        assert!(row.contains("balance 7"), "{row}");
    }
}

#[test]
fn a_sample_without_a_database_url_says_where_to_get_one() {
    let directory = tempfile::tempdir().unwrap();
    for sample in samples() {
        let ended = run(sample, directory.path(), &[]);
        let message = "Error: DATABASE_URL is not set, or is empty\n\
                       Copy .env.example to .env and put your cluster's connection string there, or run \
                       `scripts/local-cluster start` for a cluster on this machine.\n";
        assert!(ended.stderr.starts_with(message), "{sample}: {ended:?}");
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (Some(1), ""),
            "{sample}"
        );
    }
}
