//! Runs the samples as a user does: what they print, and which rows they write.

use crdb_conformance::sample::{BASIC_SAMPLES, Ended, TRANSFER_SAMPLES, run};

use crate::markdown::expected_output;
use crate::test_database::{TestDatabase, clusters};

/// Returns the names of all samples.
fn samples() -> impl DoubleEndedIterator<Item = &'static str> {
    BASIC_SAMPLES.into_iter().chain(TRANSFER_SAMPLES)
}

/// Runs a sample on this database, in an empty directory.
fn run_on(database: &TestDatabase, sample: &str) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    run(
        sample,
        directory.path(),
        &[("DATABASE_URL", &database.text)],
    )
}

#[test]
fn each_sample_prints_the_same_lines_in_every_run_and_any_order() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        for sample in samples().chain(samples().rev()) {
            let ended = run_on(&database, sample);
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
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        database.execute("INSERT INTO accounts (id, balance) VALUES (77, 7)");
        for sample in samples() {
            run_on(&database, sample);
        }
        let balance = "SELECT 'balance ' || balance::TEXT FROM accounts WHERE id = 77";
        let row = database.execute(balance);
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
                       `scripts/local-cluster start` for a server on this machine.\n";
        assert!(ended.stderr.starts_with(message), "{sample}: {ended:?}");
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (Some(1), ""),
            "{sample}"
        );
    }
}
