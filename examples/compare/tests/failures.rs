//! What a person sees for each mistake: the same words, whichever driver reads the connection string.

mod sample;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crdb_local_cluster::{Authority, Cluster, Kind, Security, Validity};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::Cipher;
use sample::{Ended, run};

const SAMPLES: [&str; 3] = ["postgres-basic", "diesel-basic", "sea-orm-basic"];

/// Runs the three and compares all that they say.
fn assert_refused(directory: &Path, variables: &[(&str, &str)], message: &str) {
    for sample in SAMPLES {
        let stderr = format!("Error: {message}\n");
        let expected = Ended {
            status: Some(1),
            stdout: String::new(),
            stderr,
        };
        assert_eq!(
            run(sample, directory, variables),
            expected,
            "{sample} with {variables:?}"
        );
    }
}

fn assert_url_refused(directory: &Path, url: &str, message: &str) {
    assert_refused(directory, &[("DATABASE_URL", url)], message);
}

#[test]
fn settings_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            "postgresql://demo:<password>@localhost/",
            "password is still the placeholder <password>\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "postgresql://demo@localhost/?sslrootcert=<certs_dir>/ca.crt",
            "sslrootcert is still the placeholder <certs_dir>/ca.crt\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "host=localhost user=demo",
            "DATABASE_URL must begin with postgresql:// or postgres://\n\
             Keyword/value strings (host=… user=…) are not understood; set PGHOST, PGUSER and so on instead.",
        ),
        (
            "postgresql://demo@localhost/?channel_binding=require",
            "the parameter channel_binding in DATABASE_URL is not supported: not all three drivers can honour it\n\
             Remove it, or use libpq itself. Understood are: host, port, user, password, dbname, sslmode, \
             sslrootcert, sslcert, sslkey, options, application_name, connect_timeout.",
        ),
        (
            "postgresql://demo@localhost/?sslmod=require",
            "unknown parameter sslmod in DATABASE_URL\n\
             Understood are: host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, options, \
             application_name, connect_timeout.",
        ),
        (
            "postgresql://demo:S3cr@t@localhost/",
            "DATABASE_URL has an \"@\" in its host or database\n\
             In a user name or password, write @ as %40, : as %3A, / as %2F and % as %25.",
        ),
        (
            "postgresql://demo:S3c/ret@localhost/",
            "DATABASE_URL has an \"@\" in its host or database\n\
             In a user name or password, write @ as %40, : as %3A, / as %2F and % as %25.",
        ),
        (
            "postgresql://demo:S3c%ret@localhost/",
            "DATABASE_URL: password contains a \"%\" that two hexadecimal digits do not follow (a plain % is \
             written %25)",
        ),
        (
            "postgresql://demo@localhost/?sslmode=allow",
            "sslmode in DATABASE_URL is not valid: allow would send everything in clear text wherever the server \
             lets it; choose one of disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgresql://demo@localhost/?sslmode=require&sslrootcert=system",
            "sslmode=require cannot be used with the operating system's certificates\n\
             Anybody can get a certificate from the authorities there, so the host name must be checked as well: \
             use sslmode=verify-full, or name your cluster's ca.crt with sslrootcert.",
        ),
    ];
    for (url, message) in cases {
        assert_url_refused(directory.path(), url, message);
    }
    assert_refused(
        directory.path(),
        &[
            ("DATABASE_URL", "postgresql://demo@localhost/"),
            ("PGCHANNELBINDING", "require"),
        ],
        "PGCHANNELBINDING is set, and not all three drivers can honour it\n\
         Unset it to connect without it.",
    );
}

#[test]
fn a_malformed_dotenv_is_told_with_its_line_and_without_its_text() {
    let directory = tempfile::tempdir().unwrap();
    let dotenv = fs::canonicalize(directory.path()).unwrap().join(".env");
    fs::write(
        &dotenv,
        "# mine\nPGHOST=localhost\nDATABASE_URL=postgresql://demo:S3cret pass@localhost/\n",
    )
    .unwrap();
    let message = format!(
        "{}, line 3: this is not NAME=value\n\
         Put a value with spaces, quotes or a $ into single quotes.",
        dotenv.display()
    );
    assert_refused(directory.path(), &[], &message);
}

#[test]
fn certificate_files_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let authority = Authority::new("test").unwrap();
    authority.write(&directory.path().join("ca.crt")).unwrap();
    for file in ["client", "other", "open", "locked"] {
        authority
            .issue(directory.path(), file, "demo", &[], Validity::Now)
            .unwrap();
    }
    fs::set_permissions(at("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(at("locked.key")).unwrap()).unwrap();
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"pass phrase")
        .unwrap();
    fs::write(at("locked.key"), locked).unwrap();
    fs::write(at("no.pem"), "nothing").unwrap();

    let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
    let roots = [
        ("missing.crt", format!("there is no such file\n{advice}")),
        (
            "no.pem",
            format!("it holds no PEM certificate (-----BEGIN CERTIFICATE-----)\n{advice}"),
        ),
        (
            "",
            format!("it cannot be read: Is a directory (os error 21)\n{advice}"),
        ),
    ];
    for sslmode in ["prefer", "require", "verify-ca", "verify-full"] {
        for (file, problem) in &roots {
            let url = format!(
                "postgresql://demo@localhost/?sslmode={sslmode}&sslrootcert={}",
                at(file)
            );
            assert_url_refused(
                directory.path(),
                &url,
                &format!("the root certificate {}: {problem}", at(file)),
            );
        }
    }
    let keys = [
        ("missing.key", "there is no such file".to_owned()),
        (
            "open.key",
            format!(
                "others can read it\nMake it private: chmod 600 {}",
                at("open.key")
            ),
        ),
        (
            "locked.key",
            "it is encrypted with a pass phrase, which is not supported\n\
             Decrypt it: openssl pkey -in KEY -out NEW_KEY"
                .to_owned(),
        ),
        (
            "other.key",
            format!("it is not the key of {}", at("client.crt")),
        ),
    ];
    for (key, problem) in keys {
        let url = format!(
            "postgresql://demo@localhost/?sslrootcert={}&sslcert={}&sslkey={}",
            at("ca.crt"),
            at("client.crt"),
            at(key)
        );
        let message = format!("the client certificate's key {}: {problem}", at(key));
        assert_url_refused(directory.path(), &url, &message);
    }
}

#[test]
fn hosts_that_do_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    assert_url_refused(
        directory.path(),
        "postgresql://demo:x@nowhere.invalid/",
        "could not connect to nowhere.invalid:26257: there is no host of this name\n\
         Check the host in DATABASE_URL for typing errors, and your network.",
    );
    // It takes the connection, and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for sslmode in ["disable", "require"] {
        assert_url_refused(
            directory.path(),
            &format!("postgresql://demo:x@127.0.0.1:{port}/?sslmode={sslmode}&connect_timeout=1"),
            &format!(
                "could not connect to 127.0.0.1:{port}: no answer (timed out)\n\
                 A managed cluster lets in only the networks that are authorised: add this machine's public \
                 address on the cluster's Networking page."
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
               127.0.0.1:{port}: no answer (timed out)\n\
             A managed cluster lets in only the networks that are authorised: add this machine's public address \
             on the cluster's Networking page."
        ),
    );
}

#[test]
fn servers_with_wrong_certificates_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            Security::NoTls,
            "the server does not offer TLS\n\
             sslmode=verify-full asks for TLS. If this is the right server, switch TLS on there; \
             sslmode=disable would send everything in clear text.",
        ),
        (
            Security::UnknownAuthority,
            "the server's certificate is from an authority that is not trusted\n\
             Download your cluster's ca.crt and name its place with sslrootcert. If you did, it belongs to \
             another cluster.",
        ),
        (
            Security::Expired,
            "the server's certificate has expired\n\
             Renew the server's certificate, and check this machine's clock.",
        ),
        (
            Security::OtherName,
            "the server's certificate is for another name: elsewhere.example\n\
             Connect by a name that the certificate bears.",
        ),
    ];
    for (security, message) in cases {
        let cluster = Cluster::start_as(Kind::Postgres, security).unwrap();
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
fn a_server_that_lets_nobody_in_like_this() {
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::to_test_on().unwrap() {
        let cluster = Cluster::start_as(kind, Security::Good).unwrap();
        let (url, host) = (cluster.url(), format!("localhost:{}", cluster.port()));
        assert_url_refused(
            directory.path(),
            &url.replace(&format!(":{}@", cluster.password()), "@"),
            &format!(
                "could not connect to {host}: the server asks for a password for user demo\n\
                 Put the password into DATABASE_URL, or into PGPASSWORD."
            ),
        );
        assert_url_refused(
            directory.path(),
            &url.replace("verify-full", "disable"),
            &format!(
                "could not connect to {host}: the server accepts only connections with TLS\n\
                 Use sslmode=verify-full and name your cluster's ca.crt with sslrootcert."
            ),
        );
        let advice =
            "Check the database in DATABASE_URL, or create it: CREATE DATABASE \"No\"\"where\"";
        for sample in SAMPLES {
            let url = url.replace("defaultdb", "No%22where");
            let ended = run(sample, directory.path(), &[("DATABASE_URL", &url)]);
            assert_eq!(
                (ended.status, ended.stdout.as_str()),
                (Some(1), ""),
                "{sample}: {ended:?}"
            );
            assert!(
                ended.stderr.ends_with(&format!("\n{advice}\n")),
                "{sample}: {ended:?}"
            );
            assert_eq!(ended.stderr.lines().count(), 2, "{sample}: {ended:?}");
        }
    }
}

#[test]
fn a_password_that_was_hashed_more_often_than_the_postgres_crate_takes() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_as(Kind::Postgres, Security::Good).unwrap();
    let verifier = scram_verifier("pass word", 119_680);
    cluster
        .execute(&format!("CREATE ROLE often LOGIN PASSWORD '{verifier}'"))
        .unwrap();
    cluster
        .execute("GRANT CREATE ON SCHEMA public TO often")
        .unwrap();
    let url = cluster.url_with("often", "pass word");
    let ended = run(
        "postgres-basic",
        directory.path(),
        &[("DATABASE_URL", &url)],
    );
    let message = format!(
        "Error: could not connect to localhost:{}: SCRAM iteration count exceeds the maximum allowed\n\
         CockroachDB 22.1 hashed this password 119,680 times, and the postgres crate takes at most 100,000. Set \
         the password anew, as an admin:\n\
         SET CLUSTER SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = 10610;\n\
         ALTER USER \"often\" WITH PASSWORD '…';\n",
        cluster.port()
    );
    assert_eq!(
        ended,
        Ended {
            status: Some(1),
            stdout: String::new(),
            stderr: message
        }
    );
    for sample in ["diesel-basic", "sea-orm-basic"] {
        let ended = run(sample, directory.path(), &[("DATABASE_URL", &url)]);
        assert_eq!(
            (ended.status, ended.stderr.as_str()),
            (Some(0), ""),
            "{sample}"
        );
    }
}

/// What PostgreSQL keeps of a password (RFC 5803).
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
