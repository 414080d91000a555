//! Runs the eight samples as a user does: what they print on success and on failure.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crdb_conformance::sample::{Ended, assert_failed, run};
use crdb_local_cluster::{Cluster, Kind};

/// All samples, in the order of the README.
const SAMPLES: [&str; 8] = [
    "postgres-basic",
    "postgres-transfer",
    "tokio-postgres-basic",
    "tokio-postgres-transfer",
    "diesel-basic",
    "diesel-transfer",
    "sea-orm-basic",
    "sea-orm-transfer",
];

/// Returns what a sample prints on success.
fn lines_of(sample: &str) -> &'static str {
    match sample {
        "postgres-basic" | "tokio-postgres-basic" => {
            "Initial balances:\n['1', '1000']\n['2', '250']\n"
        }
        "postgres-transfer" | "tokio-postgres-transfer" => {
            "Balances after transfer:\n['3', '900']\n['4', '350']\n"
        }
        "diesel-basic" | "sea-orm-basic" => "1 1000\n2 250\n",
        "diesel-transfer" | "sea-orm-transfer" => "3 900\n4 350\n",
        other => panic!("no sample {other}"),
    }
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
        let forwards = SAMPLES.iter();
        let backwards = SAMPLES.iter().rev();
        for sample in forwards.chain(backwards) {
            let ended = run(
                sample,
                directory.path(),
                &[("DATABASE_URL", &cluster.url())],
            );
            let expected = Ended {
                status: Some(0),
                stdout: lines_of(sample).into(),
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
        for sample in SAMPLES {
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
    for sample in SAMPLES {
        let message = "DATABASE_URL is not set\n\
                       Copy .env.example to .env and put your cluster's connection string there, or run \
                       `scripts/local-cluster start` for a cluster on this machine.";
        assert_failed(&run(sample, directory.path(), &[]), message, sample);
    }
}
