//! Runs the samples as a user does: what they print, and which rows they write.

use crdb_conformance::sample::{Ended, run, run_failing, samples};

use crate::markdown::expected_output;
use crate::test_database::{TestDatabase, clusters};

/// Returns the names of all samples.
fn all_samples() -> impl DoubleEndedIterator<Item = String> {
    samples("basic").chain(samples("transfer"))
}

#[test]
fn each_sample_prints_the_same_lines_in_every_run_and_any_order_and_leaves_other_rows_alone() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        database.execute("INSERT INTO accounts (id, balance) VALUES (77, 7)");
        let variables = [("DATABASE_URL", database.text.as_str())];
        for sample in all_samples().chain(all_samples().rev()) {
            let ended = run(&sample, directory.path(), &variables);
            let expected = Ended {
                status: Some(0),
                stdout: expected_output(&sample),
                stderr: String::new(),
            };
            assert_eq!(ended, expected, "{sample} on {:?}", cluster.kind());
        }
        let balance = "SELECT 'balance ' || balance::TEXT FROM accounts WHERE id = 77";
        let row = database.execute(balance);
        assert!(row.contains("balance 7"), "{row}");
    }
}

#[test]
fn a_sample_without_a_database_url_says_where_to_get_one() {
    let directory = tempfile::tempdir().unwrap();
    let message = "Error: DATABASE_URL is not set, or is empty\n\
                   Copy .env.example to .env and put your cluster's connection string there, or run \
                   `scripts/local-cluster start` for a server on this machine.";
    for sample in all_samples() {
        let printed = run_failing(&sample, directory.path(), &[], message);
        assert_eq!(printed, message, "{sample}");
    }
}
