//! Failures to connect: all drivers report them with the same message.

use std::net::TcpListener;

use crdb_conformance::sample::{SAMPLES, assert_failed, assert_url_refused, run};
use crdb_local_cluster::{Cluster, Fault, Kind};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

const NO_ANSWER: &str = "The network is not the reason. Check the state of the cluster: too few live nodes or \
                         too much load have this effect. Or raise connect_timeout.";

#[test]
fn a_host_that_does_not_answer_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    assert_url_refused(
        directory.path(),
        "postgresql://demo:x@nowhere.invalid/",
        "could not connect to nowhere.invalid:26257: there is no host of this name\n\
         Check the host in DATABASE_URL for typing errors, and your network.",
    );
    // It accepts the connection and does not answer.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for sslmode in ["disable", "require"] {
        assert_url_refused(
            directory.path(),
            &format!("postgresql://demo:x@127.0.0.1:{port}/?sslmode={sslmode}&connect_timeout=1"),
            &format!(
                "could not connect to 127.0.0.1:{port}: connected, but the server did not answer (timed out)\n\
                 {NO_ANSWER}"
            ),
        );
    }
    assert_url_refused(
        directory.path(),
        &format!(
            "postgresql://demo:x@127.0.0.1:1,127.0.0.1:{port}/?sslmode=disable&connect_timeout=1"
        ),
        &format!(
            "could not connect\n  \
               127.0.0.1:1: nothing listens there (connection refused)\n  \
               127.0.0.1:{port}: connected, but the server did not answer (timed out)\n\
             {NO_ANSWER}"
        ),
    );
}

#[test]
fn a_wrong_or_missing_certificate_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            Fault::NoTls,
            "the server does not offer TLS\n\
             sslmode=verify-full requires TLS. If this is the right server, switch TLS on there; \
             sslmode=disable would send everything in clear text.",
        ),
        (
            Fault::UnknownAuthority,
            "the server's certificate is from an authority that is not trusted\n\
             Download your cluster's ca.crt and name its place with sslrootcert. If you did, it belongs to \
             another cluster.",
        ),
        (
            Fault::Expired,
            "the server's certificate has expired\n\
             Renew the server's certificate, and check this machine's clock.",
        ),
        (
            Fault::OtherName,
            "the server's certificate is for another name: elsewhere.example\n\
             Connect by a name that the certificate contains.",
        ),
    ];
    for (fault, message) in cases {
        let cluster = Cluster::start_with_fault(fault).unwrap();
        let root = cluster.root_certificate();
        let port = cluster.port();
        let url = format!(
            "postgresql://demo:x@localhost:{port}/?sslrootcert={}",
            root.display()
        );
        let message = format!("could not connect to localhost:{port}: {message}");
        assert_url_refused(directory.path(), &url, &message);
    }
}

#[test]
fn a_refused_login_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let (url, host) = (cluster.url(), format!("localhost:{}", cluster.port()));
        assert_url_refused(
            directory.path(),
            &url.replace(&format!(":{}@", cluster.password()), "@"),
            &format!(
                "could not connect to {host}: the server asks for a password for user demo\n\
                 Put the password into DATABASE_URL, or into PGPASSWORD."
            ),
        );
        let disabled = url.replace("verify-full", "disable");
        for sample in SAMPLES {
            let ended = run(sample, directory.path(), &[("DATABASE_URL", &disabled)]);
            let problem = match kind {
                Kind::Postgres => {
                    "the server does not authorize this connection: no pg_hba.conf entry"
                }
                Kind::Cockroach => "the server accepts only connections with TLS",
            };
            let message = format!("Error: could not connect to {host}: {problem}");
            assert!(ended.stderr.starts_with(&message), "{sample}: {ended:?}");
        }
        // CockroachDB connects and fails at the first statement.
        if kind == Kind::Postgres {
            let url = url.replace("defaultdb", "alerts2%22");
            assert_url_refused(
                directory.path(),
                &url,
                &format!(
                    "could not connect to {host}: there is no database alerts2\"\n\
                     Check the database in DATABASE_URL, or create it: CREATE DATABASE \"alerts2\"\"\""
                ),
            );
        }
    }
}

#[test]
fn a_password_with_too_many_scram_iterations_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let verifier = scram_verifier("pass word", 119_680);
    cluster
        .execute(&format!("CREATE ROLE often LOGIN PASSWORD '{verifier}'"))
        .unwrap();
    cluster
        .execute("GRANT CREATE ON SCHEMA public TO often")
        .unwrap();
    let url = cluster.url_with("often", "pass word");
    let message = format!(
        "could not connect to localhost:{}: SCRAM iteration count exceeds the maximum allowed\n\
         CockroachDB 22.1 and early 22.2 hash a password 119,680 times, and this driver accepts at most \
         100,000. Set the password again, as an admin (later versions need only the second statement):\n\
         SET CLUSTER SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = 10610;\n\
         ALTER USER \"often\" WITH PASSWORD '…';",
        cluster.port()
    );
    for sample in ["postgres-basic", "tokio-postgres-basic"] {
        let ended = run(sample, directory.path(), &[("DATABASE_URL", &url)]);
        assert_failed(&ended, &message, sample);
    }
    for sample in ["diesel-basic", "sea-orm-basic"] {
        let ended = run(sample, directory.path(), &[("DATABASE_URL", &url)]);
        assert_eq!(
            (ended.status, ended.stderr.as_str()),
            (Some(0), ""),
            "{sample}"
        );
    }
}

/// Returns the text that PostgreSQL stores for a password (RFC 5803).
fn scram_verifier(password: &str, iterations: usize) -> String {
    let base64 = openssl::base64::encode_block;
    let salt = b"salt of the test";
    let mut salted = [0; 32];
    openssl::pkcs5::pbkdf2_hmac(
        password.as_bytes(),
        salt,
        iterations,
        MessageDigest::sha256(),
        &mut salted,
    )
    .unwrap();
    let key = PKey::hmac(&salted).unwrap();
    let hmac = |text: &[u8]| {
        Signer::new(MessageDigest::sha256(), &key)
            .unwrap()
            .sign_oneshot_to_vec(text)
            .unwrap()
    };
    let stored = openssl::sha::sha256(&hmac(b"Client Key"));
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        base64(salt),
        base64(&stored),
        base64(&hmac(b"Server Key"))
    )
}
