//! Servers that are silent, slow, busy or at the second address; settings that must not be used.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{clusters, for_each_driver};
use crdb_conformance::Driver;
use crdb_conformance::sample::{SAMPLES, assert_refused, run};
use crdb_connection::{Config, ConnectError, Kind, RootCert, SslMode};
use crdb_local_cluster::{Authority, Kind as ServerKind, Relay};

for_each_driver!(
    a_wrong_authority_at_the_second_address_is_a_certificate_problem,
    the_next_host_is_tried_after_a_silent_one,
    connect_timeout_also_ends_a_connection_that_receives_a_byte_a_second,
    a_connect_timeout_below_a_second_is_a_limit_too,
    without_connect_timeout_connecting_waits_for_a_silent_server,
    a_busy_server_is_reported_at_once,
    a_missing_database_is_recognised_by_its_sqlstate,
);

/// A server that accepts connections and does not answer.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn config(port: u16) -> Config {
    let url = format!("postgresql://demo:S3cret@127.0.0.1:{port}/?sslmode=disable");
    Config::from_url(&url).unwrap()
}

/// Fails to connect. Returns the error and the time until then.
fn connect_error<D: Driver>(config: &Config) -> (ConnectError, Duration) {
    let start = Instant::now();
    let Err(error) = D::connect(config) else {
        panic!("{} connects", D::NAME);
    };
    let time = start.elapsed();
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        shown += &format!(" {error} {error:?}");
        source = error.source();
    }
    if let Some(password) = &config.password {
        assert!(!shown.contains(password.reveal()), "{shown}");
    }
    (error, time)
}

/// A relay listens on 127.0.0.1 only, and `localhost` is ::1 first.
fn a_wrong_authority_at_the_second_address_is_a_certificate_problem<D: Driver>() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.crt");
    Authority::new("other").unwrap().write(&wrong).unwrap();
    for cluster in clusters() {
        let relay = Relay::start(cluster.port()).unwrap();
        let mut config = Config::from_url(&cluster.url()).unwrap();
        config.hosts[0].port = relay.port();
        drop(D::connect(&config).unwrap());
        config.sslrootcert = Some(RootCert::File(wrong.clone()));
        let (error, _) = connect_error::<D>(&config);
        assert_eq!(error.kind(), Kind::UnknownAuthority, "{error}");
        assert!(error.source().is_some(), "the driver's error");
        assert!(!error.to_string().contains("nothing listens"), "{error}");
    }
}

fn the_next_host_is_tried_after_a_silent_one<D: Driver>() {
    let silent = silent();
    for cluster in clusters() {
        let mut config = Config::from_url(&cluster.url()).unwrap();
        let mut first = config.hosts[0].clone();
        first.name = "127.0.0.1".to_owned();
        first.port = silent.local_addr().unwrap().port();
        config.hosts.insert(0, first);
        config.connect_timeout = Some(Duration::from_secs(2));
        drop(D::connect(&config).unwrap());
    }
}

fn connect_timeout_also_ends_a_connection_that_receives_a_byte_a_second<D: Driver>() {
    let listener = silent();
    let mut config = config(listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 8]);
                let _ = stream.write_all(b"S");
                // The header of a TLS record, then its content.
                for byte in [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f].into_iter().chain([0; 60]) {
                    thread::sleep(Duration::from_secs(1));
                    if stream.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    config.sslmode = SslMode::Require;
    config.connect_timeout = Some(Duration::from_secs(2));
    let (error, time) = connect_error::<D>(&config);
    assert_eq!(error.kind(), Kind::NoAnswer, "{error}");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

fn a_connect_timeout_below_a_second_is_a_limit_too<D: Driver>() {
    let silent = silent();
    let mut config = config(silent.local_addr().unwrap().port());
    config.connect_timeout = Some(Duration::from_millis(300));
    let (error, time) = connect_error::<D>(&config);
    assert_eq!(error.kind(), Kind::NoAnswer, "{error}");
    assert!(error.source().is_some());
    assert!(time < Duration::from_secs(2), "{time:?}");
}

/// sqlx's own limit for its pool is 30 seconds.
fn without_connect_timeout_connecting_waits_for_a_silent_server<D: Driver>() {
    let silent = silent();
    let mut config = config(silent.local_addr().unwrap().port());
    config.connect_timeout = None;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(D::connect(&config).map(drop));
    });
    let ended = receiver.recv_timeout(Duration::from_secs(31));
    assert!(ended.is_err(), "{ended:?}");
}

fn a_busy_server_is_reported_at_once<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == ServerKind::Postgres) {
        let user = format!("busy {}", D::NAME);
        let role = format!("CREATE ROLE \"{user}\" LOGIN PASSWORD 'S3cret' CONNECTION LIMIT 0");
        cluster.execute(&role).unwrap();
        let config = Config::from_url(&cluster.url_with(&user, "S3cret")).unwrap();
        let (error, time) = connect_error::<D>(&config);
        assert_eq!(error.kind(), Kind::Busy, "{error}");
        assert!(
            error.to_string().contains("too many connections for role"),
            "{error}"
        );
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
}

fn a_missing_database_is_recognised_by_its_sqlstate<D: Driver>() {
    for cluster in clusters().filter(|cluster| cluster.kind() == ServerKind::Postgres) {
        let mut config = Config::from_url(&cluster.url()).unwrap();
        config.dbname = "alerts2".to_owned();
        let (error, _) = connect_error::<D>(&config);
        assert_eq!(error.kind(), Kind::NoDatabase, "{error}");
        assert!(error.source().is_some());
    }
}

#[test]
fn no_password_file_is_read() {
    for cluster in clusters() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        fs::write(&file, format!("*:*:*:*:{}\n", cluster.password())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = Config::from_url(&cluster.url()).unwrap();
        config.password = None;
        config.options = Some("-c statement_timeout=60s".to_owned());
        let message = format!(
            "could not connect to localhost:{}: the server asks for a password for user demo\n\
             Put the password into DATABASE_URL, or into PGPASSWORD.",
            cluster.port()
        );
        let variables = [
            ("DATABASE_URL", &*config.to_url()),
            ("PGPASSFILE", file.to_str().unwrap()),
        ];
        assert_refused(home.path(), &variables, &message);
    }
}

#[test]
fn pghost_in_the_environment_wins_over_a_database_url_in_dotenv() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(
        parent.path().join(".env"),
        "DATABASE_URL=postgresql://demo@nowhere.invalid/\n",
    )
    .unwrap();
    let directory = parent.path().join("child");
    fs::create_dir(&directory).unwrap();
    for cluster in clusters() {
        let (port, root) = (cluster.port().to_string(), cluster.root_certificate());
        let variables = [
            ("PGHOST", "localhost"),
            ("PGPORT", &port),
            ("PGUSER", cluster.user()),
            ("PGPASSWORD", cluster.password()),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
        ];
        for sample in SAMPLES {
            let ended = run(sample, &directory, &variables);
            assert_eq!(
                (ended.status, ended.stderr.as_str()),
                (Some(0), ""),
                "{sample}"
            );
        }
    }
}

#[test]
fn variables_that_change_nothing_are_accepted_and_empty_ones_count_as_not_set() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let url = cluster.url();
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("PGGSSENCMODE", "disable"),
            ("PGCHANNELBINDING", "prefer"),
            ("PGTARGETSESSIONATTRS", "any"),
            ("PGOPTIONS", ""),
            ("PGSSLROOTCERT", ""),
        ];
        for sample in SAMPLES {
            let ended = run(sample, directory.path(), &variables);
            assert_eq!(
                (ended.status, ended.stderr.as_str()),
                (Some(0), ""),
                "{sample}"
            );
        }
    }
}

#[test]
fn a_revocation_list_in_the_home_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".postgresql")).unwrap();
    let list = home.path().join(".postgresql/root.crl");
    fs::write(&list, "").unwrap();
    for cluster in clusters() {
        let message = format!(
            "the revocation list {}: it is not supported, since only libpq would read it",
            list.display()
        );
        assert_refused(home.path(), &[("DATABASE_URL", &cluster.url())], &message);
    }
}
