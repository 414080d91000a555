//! Runs the samples as a user does: what they print, and which rows they write.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crdb_conformance::sample::{Ended, run, run_failing, samples};
use crdb_local_cluster::{Cluster, Kind};

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
    for sample in all_samples() {
        let message = "Error: DATABASE_URL is not set, or is empty\n\
                       Copy .env.example to .env and put your cluster's connection string there, or run \
                       `scripts/local-cluster start` for a server on this machine.";
        let printed = run_failing(&sample, directory.path(), &[], message);
        assert_eq!(printed, message, "{sample}");
    }
}

#[test]
fn each_sample_accepts_the_string_of_a_server_in_any_directory() {
    let odd = "a b#c&d'e,f%20g\"h\\i$j=\u{fc}";
    let directory = env::temp_dir();
    if !directory.ends_with(odd) {
        // This test once more, in a process with another TMPDIR.
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join(odd);
        fs::create_dir(&directory).unwrap();
        for path in [base.path(), &directory] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        let name = "samples::each_sample_accepts_the_string_of_a_server_in_any_directory";
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", "--nocapture", name])
            .env("TMPDIR", &directory);
        assert!(test.status().unwrap().success());
        return;
    }
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        assert!(cluster.directory().starts_with(&directory));
        for sample in samples("basic") {
            let ended = run(&sample, &directory, &[("DATABASE_URL", &cluster.url())]);
            assert_eq!(
                ended.stdout,
                expected_output(&sample),
                "{sample}: {ended:?}"
            );
        }
    }
}
