//! What each driver's sample prints if it cannot connect: the words of the driver, and the advice.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::fake_server::{listen, reject};
use crate::test_database::{TestDatabase, clusters};
use crdb_conformance::sample::{run, run_failing, samples};
use crdb_conformance::{DRIVERS, Facts, Words};
use crdb_local_cluster::{Cluster, Fault, Kind};

/// Asserts that each sample fails with the words that its driver has for it, and with this advice.
fn assert_explained(
    url: &str,
    variables: &[(&str, &str)],
    words: impl Fn(&Words) -> &'static str,
    advice: &str,
) {
    let directory = tempfile::tempdir().unwrap();
    let (_, rest) = url.split_once('@').unwrap();
    let host = rest.split('/').next().unwrap();
    let begin = format!("Error: could not connect to {host}: ");
    let variables = [&[("DATABASE_URL", url)], variables].concat();
    for driver in DRIVERS {
        let (sample, words) = (driver.sample("basic"), words(&driver.words));
        let message = run_failing(&sample, directory.path(), &variables, &begin);
        assert!(message.contains(words), "{sample}: {message}, not {words}");
        assert!(
            message.contains(&format!("\n{advice}")),
            "{sample}: {message}, not {advice}"
        );
    }
}

fn assert_url_explained(url: &str, words: impl Fn(&Words) -> &'static str, advice: &str) {
    assert_explained(url, &[], words, advice);
}

#[test]
fn settings_that_cannot_be_used_are_refused_and_not_shown() {
    let key = "MC4CAQAwBQYDK2VwBCIEIH6HGzAYNx7vUyiXMxVYyBdnQ1GmW0hL0u0ZCqRPrn1a";
    let url = "postgresql://demo:x@localhost:1/";
    #[rustfmt::skip]
    let rows = [
        ("DATABASE_URL=S3cret", "", "", "DATABASE_URL does not begin with"),
        ("S3cret", "", "", "a line of .env is not NAME=value, or"),
        ("PGPASSWORD=S3cret\0", "", "", "a line of .env is not NAME=value, or contains a NUL byte"),
        ("", "PGHOST", "S3cret/", "a host is missing, or is neither"),
        ("PGSSLCERT=Cargo.toml", "PGSSLKEY", key, "sslkey is no file, but perhaps the text"),
    ];
    for (dotenv, variable, value, message) in rows {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), dotenv).unwrap();
        std::fs::write(directory.path().join("Cargo.toml"), "").unwrap();
        for sample in samples("basic") {
            let variables = match variable {
                "" => vec![],
                "PGSSLKEY" => vec![("DATABASE_URL", url), (variable, value)],
                _ => vec![(variable, value), ("PGUSER", "demo")],
            };
            let begin = format!("Error: {message}");
            let printed = run_failing(&sample, directory.path(), &variables, &begin);
            let shown = printed.contains("S3cret") || printed.contains("MC4C");
            assert!(!shown, "{sample}: {printed}");
        }
    }
}

#[test]
fn a_root_certificate_that_would_be_trusted_besides_the_systems_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let url = "postgresql://demo:x@localhost:1/?sslrootcert=system";
    let variables = [("DATABASE_URL", url), ("PGSSLROOTCERT", "ca.crt")];
    for driver in DRIVERS.iter().filter(|driver| driver.trusts_system_roots) {
        let sample = driver.sample("basic");
        let message = run_failing(&sample, directory.path(), &variables, "Error: ");
        assert!(
            message.contains("would use PGSSLROOTCERT besides"),
            "{message}"
        );
    }
}

const NOT_SQL: &str = "Perhaps this is not CockroachDB's SQL port, which is 26257.";
const NO_ANSWER: &str = "On a managed cluster, add this machine's address to the IP Allowlist";

#[test]
fn a_host_that_cannot_be_reached_is_explained() {
    assert_url_explained(
        "postgresql://demo:x@nowhere.invalid:26257/",
        |words| words.unknown_host,
        "Check the host for typing errors",
    );
    assert_url_explained(
        // A pool can try again until its time limit.
        "postgresql://demo:x@localhost:1/?connect_timeout=1",
        |_| "Connection refused",
        "Is the server running, and is this its port? CockroachDB's is 26257.",
    );
}

#[test]
fn a_server_that_accepts_the_connection_and_does_not_answer_is_explained() {
    let silent = listen(|_| thread::park());
    // The header of a TLS record, then a byte a second.
    let slow = listen(|stream| {
        let _ = stream.read(&mut [0; 8]);
        for byte in [b'S', 0x16, 3, 3, 0x40, 0].into_iter().chain([0; 60]) {
            let _ = stream.write_all(&[byte]);
            thread::sleep(Duration::from_secs(1));
        }
    });
    for (port, sslmode) in [(silent, "disable"), (silent, "require"), (slow, "require")] {
        assert_url_explained(
            &format!("postgresql://demo:x@127.0.0.1:{port}/?sslmode={sslmode}&connect_timeout=2"),
            |words| words.no_answer,
            NO_ANSWER,
        );
    }
}

#[test]
fn http_on_the_port_is_explained() {
    let port = listen(|stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    for sslmode in ["disable", "verify-full"] {
        assert_url_explained(
            &format!("postgresql://demo:x@127.0.0.1:{port}/?sslmode={sslmode}"),
            |_| "",
            NOT_SQL,
        );
    }
    let closing = listen(|_| {});
    let url = format!("postgresql://demo:x@127.0.0.1:{closing}/");
    assert_url_explained(&url, |_| "", NOT_SQL);
}

#[test]
fn a_certificate_that_is_not_accepted_is_explained_with_openssls_words() {
    type Said = fn(&Words) -> &'static str;
    #[rustfmt::skip]
    let cases: [(Fault, Said, &str); 4] = [
        (Fault::NoTls, |words| words.no_tls, NOT_SQL),
        (Fault::UnknownAuthority, |words| words.unknown_authority,
         "The file that sslrootcert names, or ~/.postgresql/root.crt, is not the certificate of this"),
        (Fault::Expired, |words| words.expired, ""),
        (Fault::OtherName, |words| words.other_name,
         "Connect by a name that the server's certificate contains."),
    ];
    for (fault, words, advice) in cases {
        let cluster = Cluster::start_with_fault(fault).unwrap();
        let (root, port) = (cluster.root_certificate(), cluster.port());
        assert_url_explained(
            &format!(
                "postgresql://demo:x@localhost:{port}/?sslrootcert={}",
                root.display()
            ),
            words,
            advice,
        );
    }
}

/// As in a container image without the package ca-certificates.
#[test]
fn a_machine_without_root_certificates_is_explained() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let url = cluster.url();
    let (url, _) = url.split_once("&sslrootcert").unwrap();
    for root in ["", "&sslrootcert=system"] {
        let variables = [
            ("SSL_CERT_FILE", "/dev/null"),
            ("SSL_CERT_DIR", "/nonexistent"),
        ];
        let words = |_: &_| "certificate verify failed";
        let advice = "In a container, install the package ca-certificates in the image. If the";
        assert_explained(&format!("{url}{root}"), &variables, words, advice);
    }
}

#[test]
fn a_login_that_is_refused_is_explained() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let url = cluster.url();
        let failed = "password authentication failed for user";
        assert_url_explained(
            &url.replace(cluster.password(), "wrong"),
            |_| failed,
            "Check the user and the password in DATABASE_URL or PGPASSWORD.",
        );
        assert_url_explained(
            &url.replace(&format!(":{}@", cluster.password()), "@"),
            |words| words.no_password,
            "",
        );
        let words = match kind {
            Kind::Postgres => "no pg_hba.conf entry",
            Kind::Cockroach => "node is running secure mode",
        };
        assert_url_explained(
            &url.replace("verify-full", "disable"),
            |_| words,
            "The server does not accept this user from this network, or not without TLS",
        );
        // On CockroachDB the first statement fails.
        if kind == Kind::Postgres {
            assert_url_explained(
                &url.replace("defaultdb", "alerts2"),
                |_| "database \"alerts2\" does not exist",
                "Check the names of the database and the user.",
            );
            let busy = "CREATE ROLE busy LOGIN PASSWORD 'S3cret' CONNECTION LIMIT 0";
            cluster.execute(busy).unwrap();
            assert_url_explained(
                &format!("{}&connect_timeout=2", cluster.url_with("busy", "S3cret")),
                |_| "too many connections for role \"busy\"",
                "Try again later.",
            );
        }
    }
}

/// As a proxy does.
#[test]
fn a_hint_of_the_server_is_shown() {
    let port = reject("SFATAL\0VFATAL\0C08004\0Mcodeproxy: unknown cluster\0Hadd the cluster name");
    let url = format!("postgresql://demo:x@127.0.0.1:{port}/?sslmode=disable");
    assert_url_explained(&url, |_| "codeproxy: unknown cluster", "HINT:");
}

#[test]
fn a_pool_waits_for_a_server_that_is_not_ready_yet() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    cluster
        .execute("CREATE ROLE busy LOGIN PASSWORD 'x' CONNECTION LIMIT 0; GRANT demo TO busy")
        .unwrap();
    let url = cluster.url_with("busy", "x");
    let variables = [("DATABASE_URL", url.as_str())];
    let waiting = DRIVERS.iter().filter(|driver| driver.waits_for_the_server);
    let directory = directory.path();
    thread::scope(|scope| {
        let run = |driver: &Facts| run(&driver.sample("basic"), directory, &variables);
        let samples: Vec<_> = waiting
            .map(|driver| scope.spawn(move || run(driver)))
            .collect();
        thread::sleep(Duration::from_secs(3));
        cluster
            .execute("ALTER ROLE busy CONNECTION LIMIT -1; GRANT CREATE ON SCHEMA public TO busy")
            .unwrap();
        for sample in samples {
            let ended = sample.join().unwrap();
            assert_eq!(ended.status, Some(0), "{ended:?}");
        }
    });
}

#[test]
fn a_table_of_another_program_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let create = "CREATE TABLE accounts (id INT8 PRIMARY KEY, balance DECIMAL)";
        database.execute(&format!("DROP TABLE accounts; {create}"));
        let variables = [("DATABASE_URL", database.text.as_str())];
        for sample in samples("basic").chain(samples("transfer")) {
            let ended = run(&sample, directory.path(), &variables);
            let advice =
                "\nIf another program has created the table accounts, use another database.";
            assert!(ended.stderr.contains(advice), "{sample}: {ended:?}");
            assert_eq!(ended.status, Some(1), "{sample}");
        }
    }
}

#[test]
fn a_missing_privilege_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let create = "CREATE USER app WITH PASSWORD 'x'";
        cluster.execute(create).unwrap();
        let url = cluster.url_with("app", "x");
        for sample in samples("basic").chain(samples("transfer")) {
            let begin = "Error: cannot use the table accounts: ";
            let variables = [("DATABASE_URL", url.as_str())];
            let message = run_failing(&sample, directory.path(), &variables, begin);
            let advice = "\nLet an owner run GRANT CREATE ON SCHEMA public";
            assert!(message.contains(advice), "{sample}: {message}");
        }
        if cluster.kind() == Kind::Postgres {
            cluster.execute("CREATE DATABASE closed").unwrap();
            let revoke = "REVOKE CONNECT ON DATABASE closed FROM PUBLIC";
            cluster.execute(revoke).unwrap();
            let url = url.replace("/defaultdb", "/closed");
            let words = |_: &_| "permission denied for database";
            assert_url_explained(&url, words, "Let an owner run GRANT CONNECT ON DATABASE");
        }
    }
}

#[test]
fn a_password_with_too_many_scram_iterations_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    // The text that PostgreSQL stores for "pass word" after 119,680 iterations (RFC 5803).
    let verifier = "SCRAM-SHA-256$119680:c2FsdCBvZiB0aGUgdGVzdA==$\
                    bvLmpx2i6T4VTa8BWv9DqGNX5yETcRPvGUrZbbeSdRA=:\
                    0uWQGmpGeRp34ThGs4CZQVN5dTsR8Grx21bfPoI3uM0=";
    cluster
        .execute(&format!(
            "CREATE ROLE often LOGIN PASSWORD '{verifier}'; GRANT CREATE ON SCHEMA public TO often"
        ))
        .unwrap();
    let url = cluster.url_with("often", "pass word");
    for driver in DRIVERS {
        let sample = driver.sample("basic");
        let ended = run(&sample, directory.path(), &[("DATABASE_URL", &url)]);
        if driver.limits_scram_iterations {
            let words = "SCRAM iteration count exceeds the maximum allowed\nSet the password again";
            assert!(ended.stderr.contains(words), "{sample}: {ended:?}");
        } else {
            assert_eq!(ended.status, Some(0), "{sample}: {ended:?}");
        }
    }
}
