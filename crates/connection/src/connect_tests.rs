//! Why attempts fail, what the messages say, and the search for a server.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::symm::Cipher;
use openssl::x509::X509;

use crate::advice::words;
use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::connect::{ConnectError, Server};
use crate::error::ConfigError;
use crate::failure::{AttemptError, Kind};
use crate::tls::Tls;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Text(String);

fn kind(text: &str, sqlstate: Option<&str>) -> Kind {
    AttemptError::new(Text(text.to_owned()), sqlstate.map(str::to_owned))
        .classify()
        .0
}

#[test]
fn the_sqlstate_decides_before_the_text() {
    for (sqlstate, text, expected) in [
        (
            "3D000",
            r#"FATAL: database "alerts2" does not exist"#,
            Kind::NoDatabase,
        ),
        (
            "28000",
            r#"FATAL: role "database" does not exist"#,
            Kind::NotAuthorized,
        ),
        (
            "28000",
            "ERROR: password authentication failed for user demo",
            Kind::Password,
        ),
        (
            "28P01",
            r#"SCHWERER FEHLER: Passwort-Authentifizierung für "x""#,
            Kind::Password,
        ),
        (
            "28000",
            r#"no pg_hba.conf entry for host "::1", no encryption"#,
            Kind::NotAuthorized,
        ),
        (
            "28000",
            "connection requires a valid client certificate",
            Kind::ClientCertificate,
        ),
        (
            "08P01",
            "node is running secure mode, SSL connection required",
            Kind::TlsRequired,
        ),
        ("53300", "sorry, too many clients already", Kind::Busy),
        ("57P03", "the database system is starting up", Kind::Busy),
        (
            "XX000",
            "password authentication failed for user demo",
            Kind::Other,
        ),
    ] {
        assert_eq!(kind(text, Some(sqlstate)), expected, "{sqlstate} {text}");
    }
}

#[test]
fn without_a_sqlstate_only_whole_phrases_count() {
    let libpq = |reason: &str| {
        kind(
            &format!("connection to server at \"alertdb\" (127.0.0.1), port 1 failed: {reason}"),
            None,
        )
    };
    for (reason, expected) in [
        (
            "FATAL:  database \"alerts2\" does not exist\n",
            Kind::NoDatabase,
        ),
        (
            "FATAL:  role \"database\" does not exist\n",
            Kind::NotAuthorized,
        ),
        (
            "FATAL:  database \"password authentication failed\" does not exist\n",
            Kind::NoDatabase,
        ),
        (
            "FATAL:  password authentication failed for user \"demo\"\n",
            Kind::Password,
        ),
        (
            "FATAL:  no pg_hba.conf entry for host \"::1\", user \"u\", no encryption",
            Kind::NotAuthorized,
        ),
        (
            "ERROR:  node is running secure mode, SSL connection required\n",
            Kind::TlsRequired,
        ),
        ("FATAL:  sorry, too many clients already\n", Kind::Busy),
        (
            "Connection refused\n\tIs the server running on that host",
            Kind::Refused,
        ),
        ("timeout expired", Kind::TimedOut),
        (
            "server does not support SSL, but SSL was required",
            Kind::NoTls,
        ),
        (
            "SSL error: certificate verify failed",
            Kind::UnknownAuthority,
        ),
        (
            "server certificate for \"a\" does not match host name \"alertdb\"",
            Kind::OtherName,
        ),
        (
            "SSL error: tlsv13 alert certificate required",
            Kind::ClientCertificate,
        ),
        ("fe_sendauth: no password supplied\n", Kind::NoPassword),
        ("server closed the connection unexpectedly", Kind::Other),
    ] {
        assert_eq!(libpq(reason), expected, "{reason}");
    }
    assert_eq!(
        kind("invalid configuration: password missing", None),
        Kind::NoPassword
    );
}

const ALL_KINDS: [Kind; 20] = [
    Kind::HostNotFound,
    Kind::Refused,
    Kind::TimedOut,
    Kind::NoAnswer,
    Kind::NoTls,
    Kind::TlsRequired,
    Kind::UnknownAuthority,
    Kind::Expired,
    Kind::AuthorityExpired,
    Kind::NotYetValid,
    Kind::OtherName,
    Kind::ClientCertificate,
    Kind::Password,
    Kind::NoPassword,
    Kind::NotAuthorized,
    Kind::NoDatabase,
    Kind::Busy,
    Kind::ScramIterations,
    Kind::Settings,
    Kind::Other,
];

#[test]
fn every_kind_has_a_message_and_a_row_in_the_troubleshooting_table() {
    let readme = include_str!("../../../README.md");
    for kind in ALL_KINDS {
        if !matches!(kind, Kind::Settings | Kind::Other) {
            let row = format!("\n| `{}", words(kind));
            assert!(
                !words(kind).is_empty() && readme.contains(&row),
                "{kind:?}: {}",
                words(kind)
            );
        }
    }
}

/// Settings for these hosts, without TLS and with a password.
fn config(hosts: &[(&str, u16)]) -> Config {
    let mut config = Config::from_url("postgresql://demo:S3cret@h/d").unwrap();
    let host = |(name, port): &(&str, u16)| Host {
        name: name.to_string(),
        port: *port,
    };
    config.hosts = hosts.iter().map(host).collect();
    config.sslmode = SslMode::Disable;
    config
}

/// Connects with a driver that answers as `answer` says. Returns the servers tried, and the error.
fn tried(
    config: &Config,
    answer: impl Fn(&Server) -> Result<(), AttemptError> + Send + Sync + 'static,
) -> (Vec<String>, Result<(), ConnectError>) {
    let (sender, receiver) = mpsc::channel();
    let result = config.connect_with(move |server: Server| {
        let address = server.hostaddr().unwrap();
        sender.send(format!("{} {address}", server.host)).unwrap();
        answer(&server)
    });
    (receiver.try_iter().collect(), result)
}

fn io_error(kind: ErrorKind) -> AttemptError {
    io::Error::from(kind).into()
}

#[test]
fn hosts_and_their_addresses_are_tried_one_at_a_time_until_one_accepts() {
    let config = config(&[
        ("127.0.0.1", 1),
        ("127.0.0.1", 1),
        ("nowhere.invalid", 1),
        ("127.0.0.2", 2),
    ]);
    let (servers, result) = tried(&config, |server| match server.host.port {
        1 => Err(io_error(ErrorKind::ConnectionRefused)),
        _ => Ok(()),
    });
    let expected = [
        "127.0.0.1:1 127.0.0.1",
        "127.0.0.1:1 127.0.0.1",
        "127.0.0.2:2 127.0.0.2",
    ];
    assert_eq!(
        (servers.as_slice(), result.is_ok()),
        (&expected.map(str::to_owned)[..], true)
    );
}

#[test]
fn a_refused_password_ends_the_search_and_a_busy_server_does_not() {
    for (sqlstate, attempts, expected) in [("28P01", 1, Kind::Password), ("53300", 2, Kind::Busy)] {
        let config = config(&[("127.0.0.1", 1), ("127.0.0.2", 1)]);
        let (servers, result) = tried(&config, move |_| {
            Err(AttemptError::new(
                Text("…".to_owned()),
                Some(sqlstate.to_owned()),
            ))
        });
        assert_eq!(
            (servers.len(), result.unwrap_err().kind()),
            (attempts, expected)
        );
    }
}

/// The same host twice stands for a name with two addresses.
#[test]
fn the_error_is_that_of_the_address_that_answered() {
    let config = config(&[("127.0.0.1", 7), ("127.0.0.1", 7), ("127.0.0.1", 7)]);
    let attempts = AtomicU32::new(0);
    let (servers, result) = tried(&config, move |_| {
        match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io_error(ErrorKind::ConnectionRefused)),
            _ => Err(Text("certificate verify failed".to_owned()).into()),
        }
    });
    let error = result.unwrap_err();
    assert_eq!((servers.len(), error.kind()), (2, Kind::UnknownAuthority));
    assert!(!error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_server_that_does_not_answer_ends_after_the_limit_and_the_next_one_is_tried() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut config = config(&[("127.0.0.1", port), ("127.0.0.2", 1)]);
    config.connect_timeout = Some(Duration::from_millis(200));
    let start = Instant::now();
    let (servers, result) = tried(&config, |server| {
        if server.host.port != 1 {
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok(())
    });
    assert!(result.is_ok() && servers.len() == 2);
    assert!(start.elapsed() < Duration::from_secs(3));

    config.hosts.truncate(1);
    let error = tried(&config, |_| Err(io_error(ErrorKind::TimedOut)))
        .1
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NoAnswer);
    assert!(!error.to_string().contains("authorized"), "{error}");
    // Nothing listens there, so it is the network.
    drop(silent);
    let error = tried(&config, |_| Err(io_error(ErrorKind::TimedOut)))
        .1
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut);
}

#[test]
fn without_a_limit_an_attempt_may_take_any_time() {
    let mut config = config(&[("127.0.0.1", 1)]);
    config.connect_timeout = None;
    let (_, result) = tried(&config, |server| {
        assert!(server.time_limit > Duration::from_secs(300 * 24 * 60 * 60));
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_random_order_covers_all_hosts() {
    let ports: Vec<(&str, u16)> = (1..30).map(|port| ("127.0.0.1", port)).collect();
    let mut config = config(&ports);
    config.load_balance_hosts = true;
    let refuse = |_: &Server| Err(io_error(ErrorKind::ConnectionRefused));
    let (first, second) = (tried(&config, refuse).0, tried(&config, refuse).0);
    assert_ne!(first, second);
    config.load_balance_hosts = false;
    let (mut shuffled, mut sorted) = (first, tried(&config, refuse).0);
    shuffled.sort();
    sorted.sort();
    assert_eq!(shuffled, sorted);
}

/// Runs a future on this thread, without a runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn the_asynchronous_search_is_the_same_and_its_future_can_be_spawned() {
    fn spawnable<T: Send>(future: T) -> T {
        future
    }
    async fn connect_to(server: Server) -> Result<String, AttemptError> {
        match server.host.port {
            1 => Err(io_error(ErrorKind::ConnectionRefused)),
            _ => Ok(server.host.to_string()),
        }
    }
    let config = config(&[("nowhere.invalid", 1), ("127.0.0.1", 1), ("localhost", 2)]);
    let by_address = block_on(spawnable(config.connect_with_async(connect_to)));
    let by_name = block_on(spawnable(config.connect_by_name_async(connect_to)));
    assert_eq!(
        [by_address.unwrap(), by_name.unwrap()],
        ["localhost:2", "localhost:2"]
    );
}

#[test]
fn an_error_has_a_kind_and_a_source_and_shows_no_password() {
    let config = config(&[("127.0.0.1", 1)]);
    let error = tried(&config, |_| Err(io_error(ErrorKind::ConnectionRefused)))
        .1
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error
            .source()
            .is_some_and(|source| source.is::<io::Error>())
    );
    let shown = format!("{error} {error:?} {:?}", error.source());
    assert!(!shown.contains("S3cret"), "{shown}");
    assert_eq!(
        error.to_string(),
        "could not connect to 127.0.0.1:1: nothing listens there (connection refused)\n\
         Is the server running, and is this its port? CockroachDB's is 26257. `scripts/local-cluster start` \
         starts a cluster on this machine."
    );
    let refused = tried(&config, |_| Err(ConfigError::from("not this").into()));
    let error = refused.1.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Settings, "not this")
    );
}

#[test]
fn an_empty_password_that_is_refused_is_a_missing_one() {
    let mut config = config(&[("127.0.0.1", 1)]);
    for (password, expected) in [(None, Kind::NoPassword), (Some("x"), Kind::Password)] {
        config.password = password.map(Password::new);
        let refuse = |_: &Server| {
            Err(AttemptError::new(
                Text("no".to_owned()),
                Some("28P01".to_owned()),
            ))
        };
        assert_eq!(tried(&config, refuse).1.unwrap_err().kind(), expected);
    }
}

/// Returns why TLS cannot be resolved with these default files.
fn refused(config: &Config, home: &Path) -> Option<String> {
    Tls::resolve_in(config, home)
        .err()
        .map(|error| error.to_string())
}

#[test]
fn certificate_files_that_cannot_be_used_are_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("no.pem"), "nothing").unwrap();
    let mut config = config(&[("h", 1)]);
    let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        config.sslmode = mode;
        for (file, problem) in [
            ("missing.crt", "there is no such file"),
            (
                "no.pem",
                "it contains no PEM certificate (-----BEGIN CERTIFICATE-----)",
            ),
            ("", "it cannot be read: Is a directory (os error 21)"),
        ] {
            config.sslrootcert = Some(RootCert::File(at(file)));
            let expected = format!(
                "the root certificate {}: {problem}\n{advice}",
                at(file).display()
            );
            assert_eq!(refused(&config, directory.path()), Some(expected));
        }
    }
    config.sslrootcert = None;
    config.sslcert = Some(at("missing.crt"));
    let expected = format!(
        "the client certificate {}: there is no such file",
        at("missing.crt").display()
    );
    assert_eq!(refused(&config, directory.path()), Some(expected));
}

#[test]
fn a_key_that_others_can_read_or_that_is_encrypted_or_not_the_certificates_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let new_key = || PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let key = new_key();
    let mut certificate = X509::builder().unwrap();
    certificate.set_pubkey(&key).unwrap();
    let now = Asn1Time::days_from_now(0).unwrap();
    certificate.set_not_before(&now).unwrap();
    certificate.set_not_after(&now).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    fs::write(at("client.crt"), certificate.build().to_pem().unwrap()).unwrap();
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"phrase")
        .unwrap();
    let other = new_key().private_key_to_pem_pkcs8().unwrap();

    let mut config = config(&[("h", 1)]);
    config.sslmode = SslMode::Require;
    config.sslcert = Some(at("client.crt"));
    for (file, text, mode, problem) in [
        ("good.key", &pem, 0o600, None),
        (
            "open.key",
            &pem,
            0o644,
            Some("others can read it\nMake it private: chmod 600 "),
        ),
        (
            "locked.key",
            &locked,
            0o600,
            Some("it is encrypted with a pass phrase"),
        ),
        ("other.key", &other, 0o600, Some("it is not the key of ")),
        (
            "no.key",
            &b"nothing".to_vec(),
            0o600,
            Some("it contains no PEM private key"),
        ),
    ] {
        fs::write(at(file), text).unwrap();
        fs::set_permissions(at(file), fs::Permissions::from_mode(mode)).unwrap();
        config.sslkey = Some(at(file));
        let found = refused(&config, directory.path());
        let expected = problem.map(|text| {
            format!(
                "the client certificate's key {}: {text}",
                at(file).display()
            )
        });
        match (&found, expected) {
            (Some(found), Some(expected)) => assert!(found.starts_with(&expected), "{found}"),
            (found, expected) => assert_eq!(found, &expected),
        }
    }
}

#[test]
fn the_operating_systems_certificates_are_for_verify_full_only() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(&[("h", 1)]);
    for (root, modes) in [
        (
            Some(RootCert::System),
            &[SslMode::Disable, SslMode::Require, SslMode::VerifyCa][..],
        ),
        (None, &[SslMode::VerifyCa]),
    ] {
        config.sslrootcert = root;
        for mode in modes {
            config.sslmode = *mode;
            let expected = format!(
                "sslmode={} cannot be used with the operating system's certificates\n\
                 Anyone can get a certificate from those authorities, so the host name must be checked as \
                 well: use sslmode=verify-full, or name your cluster's ca.crt with sslrootcert.",
                mode.name()
            );
            assert_eq!(refused(&config, home.path()), Some(expected));
        }
    }
    config.sslmode = SslMode::VerifyFull;
    config.sslrootcert = Some(RootCert::System);
    assert_eq!(refused(&config, home.path()), None);
}

#[test]
fn a_revocation_list_is_refused_while_only_libpq_would_read_it() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("root.crl"), "").unwrap();
    let mut config = config(&[("h", 1)]);
    assert_eq!(refused(&config, home.path()), None, "sslmode=disable");
    config.sslmode = SslMode::Require;
    assert_eq!(refused(&config, home.path()), None, "nothing is verified");
    config.sslmode = SslMode::VerifyFull;
    let error = refused(&config, home.path()).unwrap();
    assert!(error.contains("root.crl: it is not supported"), "{error}");
    config.sslmode = SslMode::VerifyCa;
    let error = refused(&config, home.path()).unwrap();
    assert!(
        error.starts_with("sslmode=verify-ca cannot be used with"),
        "{error}"
    );
}
