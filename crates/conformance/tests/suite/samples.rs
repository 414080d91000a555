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
fn a_sample_that_cannot_connect_says_in_one_message_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters().iter() {
        let (url, password) = (cluster.url(), cluster.password());
        let host = format!("localhost:{}", cluster.port());
        // The same machine, by an address that is not in the certificate.
        let other_name = format!("[::ffff:127.0.0.1]:{}", cluster.port());
        let cases = [
            (
                "wrong password",
                url.replace(password, "Wr0ngSecret"),
                format!(
                    "could not connect to {host}: the server does not accept the password of user demo"
                ),
                "Check user and password in DATABASE_URL. In a password, write @ as %40, : as %3A, / as %2F \
                 and % as %25.",
            ),
            (
                "unknown authority",
                url.split("&sslrootcert").next().unwrap().to_owned(),
                format!(
                    "could not connect to {host}: the server's certificate is from an authority that is not trusted"
                ),
                "Download your cluster's ca.crt and name its place with sslrootcert. If you did, it belongs to \
                 another cluster.",
            ),
            (
                "another name",
                url.replace(&host, &other_name),
                format!(
                    "could not connect to {other_name}: the server's certificate is for another name: localhost, \
                     127.0.0.1, ::1"
                ),
                "Connect by a name that the certificate contains.",
            ),
            (
                "server not running",
                url.replace(&host, "localhost:1"),
                "could not connect to localhost:1: nothing listens there (connection refused)"
                    .to_owned(),
                "Is the server running, and is this its port? CockroachDB's is 26257. `scripts/local-cluster \
                 start` starts a cluster on this machine.",
            ),
        ];
        for (case, url, problem, hint) in cases {
            for sample in SAMPLES {
                let ended = run(sample, directory.path(), &[("DATABASE_URL", &url)]);
                let name = format!("{case}: {sample} on {:?}", cluster.kind());
                assert_failed(&ended, &format!("{problem}\n{hint}"), &name);
            }
        }
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
