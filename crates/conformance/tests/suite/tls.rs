//! Which servers are accepted: servers × sslmodes × root certificates × hosts. The expected result
//! is that of `psql` with `verify-full`, or with `disable`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crdb_conformance::{DRIVERS, Facts, sample};
use crdb_local_cluster::{Authority, Cluster, Fault, Kind};

const SSLMODES: [&str; 4] = ["disable", "require", "verify-full", ""];
const ROOTS: [&str; 6] = [
    "right",
    "wrong",
    "wrong and right",
    "none",
    "missing",
    "system",
];
struct Server {
    name: String,
    cluster: Cluster,
    sends_client_certificate: bool,
}

/// Starts a server without a fault of each kind, and PostgreSQL with each fault.
fn servers() -> Vec<Server> {
    let good = Kind::available().unwrap().into_iter().map(|kind| Server {
        name: format!("{kind:?}"),
        cluster: Cluster::start_as(kind).unwrap(),
        sends_client_certificate: false,
    });
    let faults = [
        (Fault::Expired, false),
        (Fault::OtherName, false),
        (Fault::UnknownAuthority, false),
        (Fault::NoTls, false),
        (Fault::ClientCertificate, false),
        (Fault::ClientCertificate, true),
    ];
    let faulty = faults.map(|(fault, sends_client_certificate)| Server {
        name: format!("{fault:?}, client certificate sent: {sends_client_certificate}"),
        cluster: Cluster::start_with_fault(fault).unwrap(),
        sends_client_certificate,
    });
    good.chain(faulty).collect()
}

/// Returns the connection string of a row.
fn url(server: &Server, sslmode: &str, root: &str, host: &str, directory: &Path) -> String {
    let cluster = &server.cluster;
    let (password, port) = (cluster.password(), cluster.port());
    let mut parameters = String::new();
    let mut add = |name: &str, value: &Path| parameters += &format!("{name}={}&", value.display());
    if !sslmode.is_empty() {
        add("sslmode", Path::new(sslmode));
    }
    match root {
        "right" => add("sslrootcert", &cluster.root_certificate()),
        "wrong" => add("sslrootcert", &directory.join("wrong.crt")),
        "wrong and right" => add("sslrootcert", &directory.join(format!("{port}.crt"))),
        "missing" => add("sslrootcert", &directory.join("no.crt")),
        "system" => add("sslrootcert", Path::new("system")),
        _ => {}
    }
    if server.sends_client_certificate {
        let certs = cluster.directory().join("certs");
        add("sslcert", &certs.join("client.demo.crt"));
        add("sslkey", &certs.join("client.demo.key"));
    }
    format!("postgresql://demo:{password}@{host}:{port}/defaultdb?{parameters}")
}

/// Returns whether psql connects and runs a statement.
pub fn psql_connects(url: &str, home: &Path) -> bool {
    let mut psql = Command::new("psql");
    psql.args(["-X", url, "-c", "SELECT 1"]).env("HOME", home);
    psql.output().unwrap().status.success()
}

/// Returns whether each driver connects to each of these servers, by its name and the string.
fn connects(urls: &str, home: &Path, system_roots: &Path) -> BTreeMap<(String, String), bool> {
    let mut connect = Command::new(sample::example("connect"));
    connect
        .env("HOME", home)
        .env("SSL_CERT_DIR", "/nonexistent");
    connect.env("SSL_CERT_FILE", system_roots);
    let mut connect = connect
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    connect
        .stdin
        .take()
        .unwrap()
        .write_all(urls.as_bytes())
        .unwrap();
    let output = connect.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let results = printed.lines().map(|line| {
        let [driver, connects, url] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        ((driver.to_owned(), url.to_owned()), connects == "true")
    });
    results.collect()
}

/// The authority of each server is also one of the operating system's. So a driver fails the test if
/// it trusts those although a root certificate is named.
#[test]
fn each_driver_accepts_the_servers_that_psql_accepts_with_verify_full() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let wrong = home.join("wrong.crt");
    Authority::new("other").unwrap().write(&wrong).unwrap();
    let mut counts = BTreeMap::new();
    let mut unexpected = Vec::new();
    for server in &servers() {
        let root = server.cluster.root_certificate();
        let both = [fs::read(&wrong).unwrap(), fs::read(&root).unwrap()].concat();
        fs::write(home.join(format!("{}.crt", server.cluster.port())), both).unwrap();
        // The faults do not depend on how the host is written.
        let hosts = if server.name.contains("client") {
            &["localhost"][..]
        } else {
            &["localhost", "[::1]"]
        };
        let mut rows = Vec::new();
        for &host in hosts {
            let psql = |sslmode, root| psql_connects(&url(server, sslmode, root, host, home), home);
            let (clear, right, wrong) = (
                psql("disable", "right"),
                psql("verify-full", "right"),
                psql("verify-full", "wrong"),
            );
            for (sslmode, roots) in SSLMODES
                .iter()
                .flat_map(|mode| ROOTS.map(|root| (*mode, root)))
            {
                let expected = |driver: &Facts| match (sslmode, roots) {
                    ("disable", _) => clear,
                    (_, "missing") => false,
                    (_, "wrong") if driver.trusts_system_roots => right,
                    (_, "wrong") => wrong,
                    _ => right,
                };
                let url = url(server, sslmode, roots, host, home);
                rows.extend(
                    DRIVERS
                        .iter()
                        .map(|driver| (driver.name, url.clone(), expected(driver))),
                );
            }
        }
        let urls: BTreeSet<String> = rows.iter().map(|(_, url, _)| format!("{url}\n")).collect();
        let urls: Vec<String> = urls.into_iter().collect();
        let results = connects(&urls.concat(), home, &root);
        for (driver, url, expected) in rows {
            let connects = results[&(driver.to_owned(), url.clone())];
            *counts.entry((driver, connects)).or_insert(0) += 1;
            if connects != expected {
                unexpected.push(format!("{driver}, {}, {url}: {connects}", server.name));
            }
        }
    }
    println!("rows by driver and result: {counts:?}");
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    assert!(
        counts.values().all(|rows| *rows > 20),
        "each driver accepts and refuses"
    );
}

#[test]
fn without_sslrootcert_the_root_certificate_in_the_home_directory_is_used() {
    for kind in Kind::available().unwrap() {
        let cluster = Cluster::start_as(kind).unwrap();
        let home = tempfile::tempdir().unwrap();
        let default = home.path().join(".postgresql/root.crt");
        fs::create_dir(home.path().join(".postgresql")).unwrap();
        let url = cluster.url();
        let (without, _) = url.split_once("&sslrootcert").unwrap();
        let spellings = [
            "",
            "&sslrootcert=~/.postgresql/root.crt",
            "&sslrootcert=$HOME/.postgresql/root.crt",
        ];
        for right in [true, false] {
            if right {
                fs::copy(cluster.root_certificate(), &default).unwrap();
            } else {
                Authority::new("other").unwrap().write(&default).unwrap();
            }
            for spelling in spellings {
                for sample in sample::samples("basic") {
                    let url = format!("{without}{spelling}");
                    let ended = sample::run(&sample, home.path(), &[("DATABASE_URL", &url)]);
                    assert_eq!(
                        ended.status == Some(0),
                        right,
                        "{sample} {spelling}: {ended:?}"
                    );
                }
            }
        }
    }
}
