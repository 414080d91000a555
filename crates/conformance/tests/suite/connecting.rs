//! Values of the settings that reach the server, and the round trips of connecting.

use std::fs;
use std::path::Path;

use crdb_conformance::sample::{run, run_failing, samples};
use crdb_conformance::{DRIVERS, Driver};
use crdb_connection::DatabaseUrl;
use crdb_local_cluster::{Cluster, Fault, Kind, Point, Relay};

use crate::fake_server::reject;
use crate::test_database::{TestDatabase, assert_usable, clusters, for_each_driver};
use crate::tls::psql_connects;

for_each_driver!(
    a_host_that_does_not_answer_is_passed_over_or_a_host_list_is_refused,
    connecting_takes_the_round_trips_that_the_documentation_says,
);

/// Asserts that each basic sample succeeds in this directory with these variables.
fn assert_connect(directory: &Path, variables: &[(&str, &str)]) {
    assert_samples_connect(samples("basic"), directory, variables);
}

fn assert_samples_connect(
    samples: impl Iterator<Item = String>,
    directory: &Path,
    variables: &[(&str, &str)],
) {
    for sample in samples {
        let ended = run(&sample, directory, variables);
        let result = (ended.status, ended.stderr.as_str());
        assert_eq!(result, (Some(0), ""), "{sample} with {variables:?}");
    }
}

/// Returns the basic samples of the drivers that take several hosts, or that do not.
fn samples_with_host_list(takes: bool) -> impl Iterator<Item = String> {
    let drivers = DRIVERS
        .iter()
        .filter(move |driver| driver.takes_host_list == takes);
    drivers.map(|driver| driver.sample("basic"))
}

#[test]
fn values_with_special_characters_reach_the_server_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let password = r#"p@ss:w/rd?#% '"\é&=+,;$<x>"#;
    for cluster in clusters() {
        // CockroachDB allows no such user names.
        let (user, create) = match cluster.kind() {
            Kind::Postgres => (
                r#"A "User's" é\"#,
                "CREATE ROLE \"A \"\"User's\"\" é\\\" LOGIN",
            ),
            Kind::Cockroach => ("nasty-user.1", "CREATE USER \"nasty-user.1\" WITH"),
        };
        let literal = password.replace('\'', "''");
        cluster
            .execute(&format!("{create} PASSWORD '{literal}'"))
            .unwrap();
        cluster
            .execute(r#"CREATE DATABASE "Data ""Base"" 'x'\é%""#)
            .unwrap();
        let owner = user.replace('"', "\"\"");
        let owner = format!(r#"ALTER DATABASE "Data ""Base"" 'x'\é%" OWNER TO "{owner}""#);
        cluster.execute(&owner).unwrap();
        let url = cluster.url_with(user, password);
        let url = url.replace("/defaultdb?", "/Data%20%22Base%22%20'x'%5C%C3%A9%25?");
        assert_connect(
            directory.path(),
            &[("DATABASE_URL", &url), ("PGAPPNAME", r#"it's "my" \é"#)],
        );
        // The same, from variables.
        let (port, root) = (cluster.port().to_string(), cluster.root_certificate());
        let variables = [
            ("PGHOST", "localhost"),
            ("PGPORT", &port),
            ("PGUSER", user),
            ("PGPASSWORD", password),
            ("PGDATABASE", r#"Data "Base" 'x'\é%"#),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
            ("PGOPTIONS", ""),
        ];
        assert_connect(directory.path(), &variables);
    }
}

#[test]
fn the_nearest_dotenv_is_read_and_variables_fill_the_gaps_of_the_url() {
    let parent = tempfile::tempdir().unwrap();
    let child = parent.path().join("child");
    fs::create_dir(&child).unwrap();
    for cluster in clusters() {
        let url = cluster
            .url()
            .replace(&format!(":{}@", cluster.password()), "@");
        let url = url.replace("/defaultdb?", "?");
        fs::write(
            parent.path().join(".env"),
            format!("DATABASE_URL='{url}'\n"),
        )
        .unwrap();
        assert_connect(
            &child,
            &[("PGPASSWORD", cluster.password()), ("PGUSER", "")],
        );
    }
}

#[test]
fn the_next_host_is_tried_or_a_host_list_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let host = format!("localhost:{}", cluster.port());
        let url = TestDatabase::on(cluster)
            .text
            .replace(&host, &format!("localhost:1,nowhere.invalid:1,{host}"));
        let variables = [("DATABASE_URL", url.as_str())];
        assert_samples_connect(samples_with_host_list(true), directory.path(), &variables);
        for sample in samples_with_host_list(false) {
            let message = run_failing(&sample, directory.path(), &variables, "Error: ");
            assert!(message.contains("takes one host"), "{message}");
        }
    }
}

/// A node that drains accepts TCP and rejects each login.
#[test]
fn a_node_that_drains_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with_fault(Fault::NoTls).unwrap();
    let draining = reject("SFATAL\0C57P01\0Mserver is not accepting clients");
    let host = format!("localhost:{}", cluster.port());
    let url = cluster
        .url()
        .replace(&host, &format!("127.0.0.1:{draining},{host}"));
    for order in ["disable", "random"] {
        let url = format!("{url}&load_balance_hosts={order}");
        let variables = [("DATABASE_URL", url.as_str())];
        assert_samples_connect(samples_with_host_list(true), directory.path(), &variables);
    }
    let url = url.replace(&format!(",{host}"), "");
    for sample in samples_with_host_list(true) {
        let ended = run(&sample, directory.path(), &[("DATABASE_URL", &url)]);
        let explained = "server is not accepting clients\nTry again later.";
        assert!(ended.stderr.contains(explained), "{sample}: {ended:?}");
    }
}

/// Neither at the first byte nor after TLS. Its `connect_timeout` is not that of the next host.
fn a_host_that_does_not_answer_is_passed_over_or_a_host_list_is_refused<D: Driver>() {
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let (relay, port) = (&database.relay, cluster.port());
        let hosts = format!("localhost:{},localhost:{port}", relay.port());
        let url = database.url.with("connect_timeout", "2").unwrap();
        let url = url.with("host", &hosts).unwrap();
        for answer in [1, 3] {
            if refuses_host_list::<D>(&url) {
                continue;
            }
            relay.hold(Point::Answer(answer));
            let mut driver = D::connect(&url).unwrap();
            relay.cut_all();
            assert_usable(&mut driver);
        }
    }
}

/// Returns whether the driver takes one host. Asserts that it then refuses this list.
pub fn refuses_host_list<D: Driver>(url: &DatabaseUrl) -> bool {
    if !D::FACTS.takes_host_list {
        let refused = D::connect(url).err().unwrap().to_string();
        assert!(refused.contains("takes one host"), "{refused}");
    }
    !D::FACTS.takes_host_list
}

#[test]
fn options_reach_the_server() {
    let directory = tempfile::tempdir().unwrap();
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        for (number, options) in ["-c search_path=s0", "--search_path=s1"].iter().enumerate() {
            let create = format!("CREATE SCHEMA s{number}; GRANT ALL ON SCHEMA s{number} TO demo");
            database.execute(&create);
            let url = database.text.as_str();
            let encoded = options.replace(' ', "%20").replace('=', "%3D");
            let in_url = format!("{url}&options={encoded}");
            assert_connect(directory.path(), &[("DATABASE_URL", &in_url)]);
            let variables = [("DATABASE_URL", url), ("PGOPTIONS", options)];
            assert_connect(directory.path(), &variables);
            let rows = format!("SELECT 'rows: ' || count(*)::TEXT FROM s{number}.accounts");
            let rows = database.execute(&rows);
            assert!(rows.contains("rows: 2"), "{rows}");
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
        let psql = |url: &str| assert!(psql_connects(url, Path::new("/")));
        // Without its statement.
        let psql = round_trips_of(cluster, psql) - 1;
        let connect = |url: &str| D::connect(&url.parse().unwrap()).unwrap();
        let (driver, kind) = (round_trips_of(cluster, connect), cluster.kind());
        let expected = match kind {
            Kind::Postgres => {
                psql + D::FACTS.round_trips.connect - 5..=psql + D::FACTS.round_trips.connect - 5
            }
            // 21.2 asks for the password in clear text, inside TLS.
            Kind::Cockroach => psql..=psql + 2,
        };
        let name = D::FACTS.name;
        assert!(
            expected.contains(&driver),
            "{name}: {driver}, psql {psql} on {kind:?}"
        );
    }
}
