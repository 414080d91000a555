//! Which servers are accepted: by `sslmode`, the root certificates, and the host's name. The tests of
//! mistakes hold which servers with a fault are refused.

use std::fs;
use std::path::Path;

use crdb_conformance::DRIVERS;
use crdb_conformance::sample::run;
use crdb_local_cluster::{Authority, Cluster, Fault, Kind};

use crate::test_database::clusters;

/// Asserts whether each driver connects, in this home directory and with these certificates of the
/// operating system: a driver that trusts only the named ones, and one that trusts the system's too.
fn assert_accepted(url: &str, home: &Path, system: &Path, accepted: [bool; 2]) {
    let variables = [
        ("DATABASE_URL", url),
        ("SSL_CERT_FILE", system.to_str().unwrap()),
        ("SSL_CERT_DIR", "/none"),
    ];
    for driver in DRIVERS {
        let sample = driver.sample("basic");
        let ended = run(&sample, home, &variables);
        let expected = accepted[usize::from(driver.trusts_system_roots)];
        assert_eq!(ended.status == Some(0), expected, "{url}: {ended:?}");
    }
}

/// The authority of the server is also one of the operating system's. So a driver fails the test if
/// it trusts those although a root certificate is named.
#[test]
fn each_driver_verifies_the_server_by_the_named_root_certificates_or_the_systems() {
    let home = tempfile::tempdir().unwrap();
    let [wrong, both] = ["wrong.crt", "both.crt"].map(|name| home.path().join(name));
    Authority::new("other").unwrap().write(&wrong).unwrap();
    for cluster in clusters() {
        let right = cluster.root_certificate();
        let roots = [fs::read(&wrong).unwrap(), fs::read(&right).unwrap()].concat();
        fs::write(&both, roots).unwrap();
        let url = cluster.url();
        let (url, _) = url.split_once('?').unwrap();
        let [named, wrong, both] =
            [&right, &wrong, &both].map(|root| format!("sslrootcert={}", root.display()));
        let accepted = |url: &str, parameters: &str, accepted| {
            let url = format!("{url}?{parameters}");
            assert_accepted(&url, home.path(), &right, accepted);
        };
        accepted(url, &format!("sslmode=disable&{named}"), [false; 2]);
        accepted(url, &format!("sslmode=require&{named}"), [true; 2]);
        accepted(url, &named, [true; 2]);
        // The local CockroachDB listens on IPv4 only.
        let has_ipv6 = cluster.kind() == Kind::Postgres;
        accepted(&url.replace("localhost", "[::1]"), &named, [has_ipv6; 2]);
        accepted(url, &wrong, [false, true]);
        accepted(url, &both, [true; 2]);
        accepted(url, "sslrootcert=/no.crt", [false; 2]);
        accepted(url, "sslrootcert=system", [true; 2]);
        accepted(url, "", [true; 2]);
    }
}

#[test]
fn a_server_without_tls_is_accepted_with_disable_and_a_client_certificate_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let without = Cluster::start_with_fault(Fault::NoTls).unwrap();
    let with = Cluster::start_with_fault(Fault::ClientCertificate).unwrap();
    let client = with.directory().join("certs/client.demo");
    let client = client.display();
    let sends = format!("{}&sslcert={client}.crt&sslkey={client}.key", with.url());
    for url in [without.url(), sends] {
        assert_accepted(&url, home.path(), Path::new("/dev/null"), [true; 2]);
    }
}

#[test]
fn without_sslrootcert_the_root_certificate_in_the_home_directory_is_used() {
    let cluster = clusters().next().unwrap();
    let url = cluster.url();
    let (url, _) = url.split_once("&sslrootcert").unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".postgresql")).unwrap();
    let default = home.path().join(".postgresql/root.crt");
    let accepted = |root: &str, accepted| {
        let url = format!("{url}{root}");
        assert_accepted(&url, home.path(), Path::new("/dev/null"), accepted);
    };
    Authority::new("other").unwrap().write(&default).unwrap();
    accepted("", [false; 2]);
    fs::copy(cluster.root_certificate(), &default).unwrap();
    accepted("", [true; 2]);
    accepted("&sslrootcert=~/.postgresql/root.crt", [true; 2]);
    accepted("&sslrootcert=$HOME/.postgresql/root.crt", [true; 2]);
}
