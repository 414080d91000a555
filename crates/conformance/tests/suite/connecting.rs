//! Values of the settings that reach the server, and the round trips of connecting.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crdb_conformance::sample::{run, run_failing, samples};
use crdb_conformance::{DRIVERS, Driver};
use crdb_local_cluster::{Cluster, Kind, Point, Relay};

use crate::fake_server::{listen, reject};
use crate::test_database::{TestDatabase, clusters, for_each_driver};

for_each_driver!(connecting_takes_the_round_trips_that_the_documentation_says);

/// Asserts that this sample succeeds in this directory with these variables.
fn assert_connects(sample: &str, directory: &Path, variables: &[(&str, &str)]) {
    let ended = run(sample, directory, variables);
    let result = (ended.status, ended.stderr.as_str());
    assert_eq!(result, (Some(0), ""), "{sample} with {variables:?}");
}

#[test]
fn values_with_special_characters_reach_the_server_unchanged() {
    let (directory, encoded_directory) = (
        r#"a b#c&d'e,f%20g"h\i$j=ü"#,
        "a%20b%23c%26d'e,f%2520g%22h%5Ci$j%3D%C3%BC",
    );
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(directory)).unwrap();
    let root = home.path().join(directory).join("ca.crt");
    let encoded_root = format!("{}/{encoded_directory}/ca.crt", home.path().display());
    let password = r#"p@ss:w/rd?#% '"\é&=+,;$<x>"#;
    let (database, quoted) = (r#"Data "Base" 'x'\é%"#, r#""Data ""Base"" 'x'\é%""#);
    for cluster in clusters() {
        // CockroachDB allows no such user names.
        let (user, owner, with) = match cluster.kind() {
            Kind::Postgres => (r#"A "User's" é\"#, r#""A ""User's"" é\""#, "LOGIN"),
            Kind::Cockroach => ("nasty-user.1", "\"nasty-user.1\"", ""),
        };
        let literal = password.replace('\'', "''");
        for sql in [
            format!("CREATE USER {owner} WITH {with} PASSWORD '{literal}'"),
            format!("CREATE DATABASE {quoted}"),
            format!("ALTER DATABASE {quoted} OWNER TO {owner}"),
        ] {
            cluster.execute(&sql).unwrap();
        }
        let schemas =
            format!("CREATE SCHEMA s1; CREATE SCHEMA s2; GRANT ALL ON SCHEMA s1, s2 TO {owner}");
        cluster.execute_in(database, &schemas).unwrap();
        fs::copy(cluster.root_certificate(), &root).unwrap();
        let url = cluster.url_with(user, password);
        let (url, _) = url.split_once("/defaultdb").unwrap();
        let url = format!(
            "{url}/Data%20%22Base%22%20'x'%5C%C3%A9%25?sslrootcert={encoded_root}\
             &options=-c%20search_path%3Ds1"
        );
        let in_url = [("DATABASE_URL", &*url), ("PGAPPNAME", r#"it's "my" \é"#)];
        let port = cluster.port().to_string();
        let in_variables = [
            ("PGHOST", "localhost"),
            ("PGPORT", &port),
            ("PGUSER", user),
            ("PGPASSWORD", password),
            ("PGDATABASE", database),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
            ("PGOPTIONS", "--search_path=s2"),
        ];
        for sample in samples("basic") {
            assert_connects(&sample, home.path(), &in_url);
            assert_connects(&sample, home.path(), &in_variables);
        }
        for schema in ["s1", "s2"] {
            let rows = format!("SELECT 'rows: ' || count(*)::TEXT FROM {schema}.accounts");
            let rows = cluster.execute_in(database, &rows).unwrap();
            assert!(rows.contains("rows: 2"), "{rows}");
        }
    }
}

#[test]
fn the_nearest_dotenv_is_read_and_variables_fill_the_gaps_of_the_url() {
    let parent = tempfile::tempdir().unwrap();
    let child = parent.path().join("child");
    fs::create_dir(&child).unwrap();
    for cluster in clusters() {
        let (url, password) = (cluster.url(), cluster.password());
        let url = url.replace(&format!(":{password}@"), "@");
        let dotenv = format!("DATABASE_URL='{}'\n", url.replace("/defaultdb?", "?"));
        fs::write(parent.path().join(".env"), dotenv).unwrap();
        for sample in samples("basic") {
            let variables = [("PGPASSWORD", password), ("PGUSER", "")];
            assert_connects(&sample, &child, &variables);
        }
    }
}

/// Hosts that do not exist, refuse, drain, or do not answer: at the first byte, or after TLS. The
/// `connect_timeout` of one is not that of the next.
#[test]
fn each_host_is_tried_until_one_accepts_the_login_or_a_host_list_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let draining = reject("SFATAL\0C57P01\0Mserver is not accepting clients");
    let silent = listen(|_| thread::park());
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let relay = database.relay.port();
        let last = format!("localhost:{}", cluster.port());
        let hosts = format!(
            "localhost:1,nowhere.invalid:1,localhost:{draining},localhost:{silent},\
             localhost:{relay},{last}"
        );
        let url = format!("{}&connect_timeout=2", database.text.replace(&last, &hosts));
        let variables = [("DATABASE_URL", url.as_str())];
        for driver in DRIVERS {
            let sample = driver.sample("basic");
            if !driver.takes_host_list {
                let message = run_failing(&sample, directory.path(), &variables, "Error: ");
                assert!(message.contains("takes one host"), "{message}");
                continue;
            }
            database.relay.hold(Point::Answer(3));
            assert_connects(&sample, directory.path(), &variables);
            database.relay.cut_all();
        }
    }
}

/// Returns the round trips of `connect`: the fewest of five attempts, because the server may send a
/// TLS session ticket in a message of its own. Disconnecting is not counted.
fn round_trips_of<T>(cluster: &Cluster, connect: impl Fn(&str) -> T) -> u64 {
    let count = |_| {
        let relay = Relay::start(cluster.port()).unwrap();
        let connected = connect(&cluster.url_through(&relay));
        let count = relay.round_trips();
        drop(connected);
        count
    };
    (0..5).map(count).min().unwrap()
}

/// psql takes 6 on PostgreSQL before version 18, else 5.
fn connecting_takes_the_round_trips_that_the_documentation_says<D: Driver>() {
    for cluster in clusters() {
        let psql = |url: &str| {
            let psql = Command::new("psql")
                .args(["-X", url, "-c", "SELECT 1"])
                .output();
            assert!(psql.unwrap().status.success());
        };
        // Without its statement.
        let psql = round_trips_of(cluster, psql) - 1;
        let driver = round_trips_of(cluster, |url| D::connect(&url.parse().unwrap()).unwrap());
        let expected = match cluster.kind() {
            Kind::Postgres => {
                let expected = psql + D::FACTS.round_trips.connect - 5;
                expected..=expected
            }
            // 21.2 asks for the password in clear text, inside TLS.
            Kind::Cockroach => psql..=psql + 2,
        };
        assert!(expected.contains(&driver), "{driver}, psql {psql}");
    }
}
