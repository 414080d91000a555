//! What each driver's sample prints if it cannot connect: the words of the driver, and the advice.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::fake_server::{listen, reject};
use crate::test_database::{TestDatabase, clusters};
use crdb_conformance::DRIVERS;
use crdb_conformance::sample::{run, run_failing, samples};
use crdb_local_cluster::{Cluster, Fault, Kind};

/// Asserts that each sample fails with one of these words of its driver, and with this advice.
fn assert_explained(url: &str, variables: &[(&str, &str)], words: &[&str], advice: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (_, rest) = url.split_once('@').unwrap();
    let host = rest.split('/').next().unwrap();
    let begin = format!("Error: could not connect to {host}: ");
    let variables = [&[("DATABASE_URL", url)], variables].concat();
    let assert_sample = |sample: String| {
        let message = run_failing(&sample, directory.path(), &variables, &begin);
        let said = words.iter().any(|words| message.contains(words));
        assert!(said, "{sample}: {message}, not {words:?}");
        let advised = message.contains(&format!("\n{advice}"));
        assert!(advised, "{sample}: {message}, not {advice}");
    };
    thread::scope(|scope| {
        for sample in samples("basic") {
            scope.spawn(|| assert_sample(sample));
        }
    });
}

const NOT_SQL: &str = "Perhaps this is not CockroachDB's SQL port, which is 26257.";
const VERIFY_FAILED: &str = "certificate verify failed";

#[test]
fn settings_that_cannot_be_used_are_refused_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    for (dotenv, message) in [
        ("DATABASE_URL=S3cret", "DATABASE_URL does not begin with"),
        ("S3cret", "a line of .env is not NAME=value, or"),
        (
            "PGPASSWORD=S3cret\0",
            "a line of .env is not NAME=value, or contains a NUL",
        ),
    ] {
        std::fs::write(directory.path().join(".env"), dotenv).unwrap();
        for sample in samples("basic") {
            let begin = format!("Error: {message}");
            let printed = run_failing(&sample, directory.path(), &[], &begin);
            assert!(!printed.contains("S3cret"), "{sample}: {printed}");
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

#[test]
fn a_server_that_is_not_there_or_no_database_is_explained() {
    let explained = |server: &str, words: &[&str], advice: &str| {
        assert_explained(&format!("postgresql://demo:x@{server}"), &[], words, advice);
    };
    let unknown = ["lookup address", "could not translate host name"];
    explained(
        "nowhere.invalid:1/",
        &unknown,
        "Check the host for typing errors",
    );
    // A pool can try again until its time limit.
    let refused = "Is the server running, and is this its port? CockroachDB's is 26257.";
    explained(
        "localhost:1/?connect_timeout=1",
        &["Connection refused"],
        refused,
    );

    let silent = listen(|_| thread::park());
    // The header of a TLS record, then a byte a second.
    let slow = listen(|stream| {
        let _ = stream.read(&mut [0; 8]);
        for byte in [b'S', 0x16, 3, 3, 0x40, 0].into_iter().chain([0; 60]) {
            let _ = stream.write_all(&[byte]);
            thread::sleep(Duration::from_secs(1));
        }
    });
    let timed_out = ["timed out", "Timeout occurred", "timeout expired"];
    let allow = "On a managed cluster, add this machine's address to the IP Allowlist";
    for (port, sslmode) in [(silent, "disable"), (silent, "require"), (slow, "require")] {
        let server = format!("127.0.0.1:{port}/?sslmode={sslmode}&connect_timeout=2");
        explained(&server, &timed_out, allow);
    }

    let closing = listen(|_| {});
    let http = listen(|stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    for server in [
        format!("{http}/?sslmode=disable"),
        format!("{http}/"),
        format!("{closing}/"),
    ] {
        explained(&format!("127.0.0.1:{server}"), &[""], NOT_SQL);
    }

    // A proxy, and a node that drains.
    let hint = "SFATAL\0VFATAL\0C08004\0Mcodeproxy: unknown cluster\0Hadd the cluster name";
    let server = format!("127.0.0.1:{}/?sslmode=disable", reject(hint));
    explained(&server, &["codeproxy: unknown cluster"], "HINT:");
    let draining = reject("SFATAL\0C57P01\0Mserver is not accepting clients");
    let server = format!("127.0.0.1:{draining}/?sslmode=disable&connect_timeout=1");
    explained(
        &server,
        &["server is not accepting clients"],
        "Try again later.",
    );
}

#[test]
fn a_certificate_that_is_not_accepted_is_explained_with_openssls_words() {
    let explained = |fault, words: &[&str], advice| {
        let cluster = Cluster::start_with_fault(fault).unwrap();
        let url = cluster.url();
        let (url, _) = url.split_once('?').unwrap();
        let root = cluster.root_certificate();
        let named = format!("{url}?sslrootcert={}", root.display());
        assert_explained(&named, &[], words, advice);
        // The same authority, as one of the operating system's.
        let system = [("SSL_CERT_FILE", root.to_str().unwrap())];
        assert_explained(&format!("{url}?sslrootcert=system"), &system, words, "");
    };
    explained(Fault::NoTls, &["support TLS", "support SSL"], NOT_SQL);
    let own = "The file that sslrootcert names, or ~/.postgresql/root.crt, is not the certificate";
    let words = ["unable to get local issuer certificate", VERIFY_FAILED];
    explained(Fault::UnknownAuthority, &words, own);
    explained(
        Fault::Expired,
        &["certificate has expired", VERIFY_FAILED],
        "",
    );
    let name = "Connect by a name that the server's certificate contains.";
    let words = ["ostname mismatch", "does not match host name"];
    explained(Fault::OtherName, &words, name);
    let client = "Name your client certificate with sslcert";
    explained(Fault::ClientCertificate, &["certificate"], client);
}

/// As in a container image without the package ca-certificates.
#[test]
fn a_machine_without_root_certificates_is_explained() {
    let url = clusters().next().unwrap().url();
    let (url, _) = url.split_once("&sslrootcert").unwrap();
    let variables = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/none")];
    let advice = "In a container, install the package ca-certificates in the image. If the";
    for root in ["", "&sslrootcert=system"] {
        assert_explained(
            &format!("{url}{root}"),
            &variables,
            &[VERIFY_FAILED],
            advice,
        );
    }
}

#[test]
fn a_login_that_is_refused_is_explained() {
    for cluster in clusters() {
        let (url, password) = (cluster.url(), cluster.password());
        let explained =
            |url: &str, words: &[&str], advice| assert_explained(url, &[], words, advice);
        let failed = "password authentication failed for user";
        let check = "Check the user and the password in DATABASE_URL or PGPASSWORD.";
        explained(&url.replace(password, "wrong"), &[failed], check);
        // sqlx, which SeaORM uses too, sends an empty password.
        let words = ["password missing", "no password supplied", failed];
        explained(&url.replace(&format!(":{password}@"), "@"), &words, "");
        let words = ["no pg_hba.conf entry", "node is running secure mode"];
        let network = "The server does not accept this user from this network, or not without TLS";
        explained(&url.replace("verify-full", "disable"), &words, network);
        // On CockroachDB the first statement fails.
        if cluster.kind() == Kind::Postgres {
            for sql in [
                "CREATE ROLE busy LOGIN PASSWORD 'S3cret' CONNECTION LIMIT 0",
                "CREATE DATABASE closed",
                "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
            ] {
                cluster.execute(sql).unwrap();
            }
            let words = ["database \"alerts2\" does not exist"];
            let names = "Check the names of the database and the user.";
            explained(&url.replace("defaultdb", "alerts2"), &words, names);
            let grant = "Let an owner run GRANT CONNECT ON DATABASE";
            let words = ["permission denied for database"];
            explained(&url.replace("defaultdb", "closed"), &words, grant);
            let busy = format!("{}&connect_timeout=2", cluster.url_with("busy", "S3cret"));
            let words = ["too many connections for role \"busy\""];
            explained(&busy, &words, "Try again later.");
        }
    }
}

/// Returns the connection string of a new role that may use the tables of this database.
fn url_of_role(database: &TestDatabase, role: &str, password: &str, options: &str) -> String {
    let create = format!("CREATE ROLE {role} LOGIN {options}; GRANT demo TO {role}");
    database.cluster.execute(&create).unwrap();
    let url = database.cluster.url_with(role, password);
    url.replace("/defaultdb?", &format!("/{}?", database.name))
}

#[test]
fn a_pool_waits_for_a_server_that_is_not_ready_yet() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::on(clusters().next().unwrap());
    let url = url_of_role(&database, "waiting", "x", "PASSWORD 'x' CONNECTION LIMIT 0");
    let run = |sample: String| run(&sample, directory.path(), &[("DATABASE_URL", &url)]);
    thread::scope(|scope| {
        for driver in DRIVERS.iter().filter(|driver| driver.waits_for_the_server) {
            scope.spawn(|| {
                let ended = run(driver.sample("basic"));
                assert_eq!(ended.status, Some(0), "{ended:?}");
            });
        }
        thread::sleep(Duration::from_secs(3));
        let allow = "ALTER ROLE waiting CONNECTION LIMIT -1";
        database.cluster.execute(allow).unwrap();
    });
}

#[test]
fn a_password_with_many_scram_iterations_is_accepted_or_explained() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::on(clusters().next().unwrap());
    // The text that PostgreSQL stores for "pass word" after 119,680 iterations (RFC 5803).
    let verifier = "SCRAM-SHA-256$119680:c2FsdCBvZiB0aGUgdGVzdA==$\
                    bvLmpx2i6T4VTa8BWv9DqGNX5yETcRPvGUrZbbeSdRA=:\
                    0uWQGmpGeRp34ThGs4CZQVN5dTsR8Grx21bfPoI3uM0=";
    let options = format!("PASSWORD '{verifier}'");
    let url = url_of_role(&database, "often", "pass word", &options);
    for driver in DRIVERS {
        let sample = driver.sample("basic");
        let ended = run(&sample, directory.path(), &[("DATABASE_URL", &url)]);
        let words = "SCRAM iteration count exceeds the maximum allowed\nSet the password again";
        let is_explained = ended.status == Some(0) || ended.stderr.contains(words);
        assert!(is_explained, "{sample}: {ended:?}");
    }
}

#[test]
fn a_table_of_another_program_and_a_missing_privilege_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let explained = |url: &str, advice: &str| {
        for sample in samples("basic").chain(samples("transfer")) {
            let ended = run(&sample, directory.path(), &[("DATABASE_URL", url)]);
            assert!(ended.stderr.contains(advice), "{sample}: {ended:?}");
            assert_eq!(ended.status, Some(1), "{sample}");
        }
    };
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let change =
            "DROP TABLE accounts; CREATE TABLE accounts (id INT8 PRIMARY KEY, balance DECIMAL)";
        database.execute(change);
        let other = "\nIf another program has created the table accounts, use another database.";
        explained(&database.text, other);
        let user = "CREATE USER app WITH PASSWORD 'x'";
        cluster.execute(user).unwrap();
        let owner = "\nLet an owner run GRANT CREATE ON SCHEMA public";
        explained(&cluster.url_with("app", "x"), owner);
        // CockroachDB accepts the login, and the first statement fails.
        if cluster.kind() == Kind::Cockroach {
            let name = "\nCheck the name of the database in the connection string.";
            explained(&cluster.url_of("alerts2"), name);
        }
    }
}
