//! Values of the connection string that reach the server, and the round trips of connecting.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crdb_conformance::sample::{SAMPLES, assert_failed, run};
use crdb_connection::Config;
use crdb_local_cluster::{Authority, Cluster, Kind, Relay};
use tokio::runtime::Builder;

fn clusters() -> impl Iterator<Item = Cluster> {
    let kinds = Kind::available().unwrap();
    kinds
        .into_iter()
        .map(|kind| Cluster::start_as(kind).unwrap())
}

fn assert_connect(variables: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    for sample in SAMPLES {
        let ended = run(sample, directory.path(), variables);
        assert_eq!(
            (ended.status, ended.stderr.as_str()),
            (Some(0), ""),
            "{sample} with {variables:?}"
        );
    }
}

#[test]
fn values_with_special_characters_reach_the_server_unchanged() {
    let password = r#"p@ss:w/rd?#% '"\é&=+,;$"#;
    for cluster in clusters() {
        // CockroachDB allows no such user names.
        let user = if cluster.kind() == Kind::Postgres {
            r#"A "User's" é\"#
        } else {
            "nasty-user.1"
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let database = r#"Data "Base" 'x'\é%"#;
        let literal = password.replace('\'', "''");
        let create = match cluster.kind() {
            Kind::Postgres => format!("CREATE ROLE {} LOGIN PASSWORD '{literal}'", quoted(user)),
            Kind::Cockroach => format!("CREATE USER {} WITH PASSWORD '{literal}'", quoted(user)),
        };
        cluster.execute(&create).unwrap();
        cluster
            .execute(&format!("CREATE DATABASE {}", quoted(database)))
            .unwrap();
        cluster
            .execute(&format!(
                "ALTER DATABASE {} OWNER TO {}",
                quoted(database),
                quoted(user)
            ))
            .unwrap();
        let mut config = Config::from_url(&cluster.url_with(user, password)).unwrap();
        config.dbname = database.to_owned();
        config.application_name = r#"it's "my" \program é"#.to_owned();
        assert_connect(&[("DATABASE_URL", &config.to_url())]);
    }
}

#[test]
fn hosts_are_tried_in_their_order() {
    for cluster in clusters() {
        let url = cluster.url();
        let host = format!("localhost:{}", cluster.port());
        assert_connect(&[(
            "DATABASE_URL",
            &url.replace(&host, &format!("localhost:1,nowhere.invalid:1,{host}")),
        )]);
        // As in libpq, the first server that answers decides about the password.
        let wrong = url
            .replace(cluster.password(), "wrong")
            .replace(&host, &format!("{host},localhost:1"));
        let directory = tempfile::tempdir().unwrap();
        for sample in SAMPLES {
            let ended = run(sample, directory.path(), &[("DATABASE_URL", &wrong)]);
            let first_line = ended.stderr.lines().next().unwrap();
            let expected = format!(
                "Error: could not connect to {host}: the server does not accept the password of user demo"
            );
            assert_eq!(first_line, expected, "{sample}");
        }
    }
}

#[test]
fn variables_can_replace_the_url() {
    for cluster in clusters() {
        let (port, root) = (cluster.port().to_string(), cluster.root_certificate());
        assert_connect(&[
            ("PGHOST", "localhost"),
            ("PGPORT", &port),
            ("PGUSER", cluster.user()),
            ("PGPASSWORD", cluster.password()),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
        ]);
    }
}

#[test]
fn options_reach_the_server() {
    for cluster in clusters() {
        for (number, options) in ["-c search_path=s0", "--search_path=s1", "-csearch_path=s2"]
            .iter()
            .enumerate()
        {
            cluster
                .execute(&format!("CREATE SCHEMA s{number}"))
                .unwrap();
            cluster
                .execute(&format!("GRANT ALL ON SCHEMA s{number} TO demo"))
                .unwrap();
            let mut config = Config::from_url(&cluster.url()).unwrap();
            config.options = Some((*options).to_owned());
            assert_connect(&[("DATABASE_URL", &config.to_url())]);
            assert_connect(&[("DATABASE_URL", &cluster.url()), ("PGOPTIONS", options)]);
            let rows = cluster
                .execute(&format!(
                    "SELECT 'rows: ' || count(*)::TEXT FROM s{number}.accounts"
                ))
                .unwrap();
            assert!(rows.contains("rows: 2"), "{rows}");
        }
    }
}

/// libpq takes the options of the URL. sqlx would send both, so SeaORM's `connect` refuses.
#[test]
fn options_of_the_url_win_over_pgoptions_or_sea_orm_refuses() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let mut config = Config::from_url(&cluster.url()).unwrap();
        config.options = Some("-c statement_timeout=60s".to_owned());
        let url = config.to_url();
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("PGOPTIONS", "-c search_path=nowhere"),
        ];
        for sample in ["postgres-basic", "tokio-postgres-basic", "diesel-basic"] {
            let ended = run(sample, directory.path(), &variables);
            assert_eq!(
                (ended.status, ended.stderr.as_str()),
                (Some(0), ""),
                "{sample}"
            );
        }
        let ended = run("sea-orm-basic", directory.path(), &variables);
        let reason =
            "sqlx would use PGOPTIONS, against the other settings\nUnset PGOPTIONS to connect.";
        assert_failed(&ended, reason, "sea-orm-basic");
    }
}

#[test]
fn without_sslrootcert_the_root_certificate_in_the_home_directory_is_used_as_in_libpq() {
    for cluster in clusters() {
        let home = tempfile::tempdir().unwrap();
        let default = home.path().join(".postgresql/root.crt");
        std::fs::create_dir(home.path().join(".postgresql")).unwrap();
        let url = cluster.url();
        let (url, _) = url.split_once("&sslrootcert").unwrap();
        for right in [true, false] {
            if right {
                std::fs::copy(cluster.root_certificate(), &default).unwrap();
            } else {
                Authority::new("other").unwrap().write(&default).unwrap();
            }
            for sslmode in ["require", "verify-ca", "verify-full"] {
                let url = url.replace("verify-full", sslmode);
                let psql = Command::new("psql")
                    .args(["-X", &url, "-c", "SELECT 1"])
                    .env("HOME", home.path())
                    .output();
                assert_eq!(psql.unwrap().status.success(), right, "psql with {sslmode}");
                for sample in SAMPLES {
                    let ended = run(sample, home.path(), &[("DATABASE_URL", &url)]);
                    assert_eq!(
                        ended.status == Some(0),
                        right,
                        "{sample} with {sslmode}: {}",
                        ended.stderr
                    );
                }
            }
        }
    }
}

/// Returns the round trips of `connect`: the fewest of five attempts, because the server may send a
/// TLS session ticket in a message of its own. Disconnecting is not counted.
fn round_trips_of<T>(cluster: &Cluster, connect: impl Fn(&str) -> T) -> u64 {
    let count = |_| {
        let relay = Relay::start(cluster.port()).unwrap();
        let (straight, through) = (cluster.port(), relay.port());
        let url = cluster.url().replace(
            &format!("localhost:{straight}/"),
            &format!("localhost:{through}/"),
        );
        let connected = connect(&url);
        let count = relay.round_trips();
        drop(connected);
        count
    };
    (0..5).map(count).min().unwrap()
}

struct Psql(Child);

impl Drop for Psql {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts psql, and waits until it has run one statement.
fn psql(url: &str) -> Psql {
    let mut psql = Command::new("psql");
    let psql = psql
        .args(["-X", "-At", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut psql = Psql(psql.spawn().unwrap());
    psql.0
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"SELECT 'in';\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(psql.0.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "in\n");
    psql
}

#[test]
fn connecting_takes_at_most_two_round_trips_more_than_psql() {
    let config = |url: &str| Config::from_url(url).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for cluster in clusters() {
        let psql = round_trips_of(&cluster, psql) - 1;
        let postgres = round_trips_of(&cluster, |url| {
            crdb_postgres::connect(&config(url)).unwrap()
        });
        let tokio_postgres = round_trips_of(&cluster, |url| {
            let connected = runtime.block_on(crdb_tokio_postgres::connect(&config(url)));
            connected.unwrap()
        });
        let diesel = round_trips_of(&cluster, |url| crdb_diesel::connect(&config(url)).unwrap());
        let sea_orm = round_trips_of(&cluster, |url| {
            runtime
                .block_on(crdb_sea_orm::connect(&config(url)))
                .unwrap()
        });
        println!(
            "{:?}: psql {psql}, postgres {postgres}, tokio-postgres {tokio_postgres}, \
             Diesel {diesel}, SeaORM {sea_orm}",
            cluster.kind()
        );
        for driver in [postgres, tokio_postgres, diesel, sea_orm] {
            assert!(
                (psql..=psql + 2).contains(&driver),
                "psql {psql}, driver {driver}"
            );
        }
        if cluster.kind() == Kind::Postgres {
            assert_eq!(
                [psql, postgres, tokio_postgres, diesel, sea_orm],
                [6, 6, 6, 8, 6],
                "the figures in the documentation"
            );
        }
    }
}
