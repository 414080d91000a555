//! Which connections are accepted, for every combination of sslmode, root certificate, server and
//! name of the host. The expected result of each row is that of `psql`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crdb_conformance::sample;
use crdb_local_cluster::{Authority, Cluster, Fault, Kind};
use tempfile::TempDir;

const SSLMODES: [&str; 4] = ["disable", "require", "verify-ca", "verify-full"];
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Right,
    Wrong,
    /// Two certificates in one file, the right one second, as during the replacement of an
    /// authority.
    WrongAndRight,
    Absent,
    MissingFile,
    System,
}

const ROOTS: [Root; 6] = [
    Root::Right,
    Root::Wrong,
    Root::WrongAndRight,
    Root::Absent,
    Root::MissingFile,
    Root::System,
];

struct Server {
    name: String,
    cluster: Cluster,
    sends_client_certificate: bool,
}

/// The servers and files that all tests of this module share.
struct World {
    servers: Vec<Server>,
    /// An empty home, the wrong root certificate, and a copy of the right one.
    directory: TempDir,
    psql_knows_system: bool,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    Authority::new("other")
        .unwrap()
        .write(&directory.path().join("wrong.crt"))
        .unwrap();
    let mut servers = vec![Server {
        name: "PostgreSQL".into(),
        cluster: Cluster::start_as(Kind::Postgres).unwrap(),
        sends_client_certificate: false,
    }];
    let faults = [
        Fault::Expired,
        Fault::OtherName,
        Fault::UnknownAuthority,
        Fault::NoTls,
        Fault::ClientCertificate,
    ];
    for fault in faults {
        let cluster = Cluster::start_with_fault(fault).unwrap();
        let name = format!("{fault:?}");
        servers.push(Server {
            name,
            cluster,
            sends_client_certificate: false,
        });
    }
    let cluster = Cluster::start_with_fault(Fault::ClientCertificate).unwrap();
    servers.push(Server {
        name: "ClientCertificate, shown".into(),
        cluster,
        sends_client_certificate: true,
    });
    if Kind::available().unwrap().contains(&Kind::Cockroach) {
        let cluster = Cluster::start_as(Kind::Cockroach).unwrap();
        servers.push(Server {
            name: "CockroachDB".into(),
            cluster,
            sends_client_certificate: false,
        });
    }
    for server in &servers {
        let wrong = std::fs::read(directory.path().join("wrong.crt")).unwrap();
        let right = std::fs::read(server.cluster.root_certificate()).unwrap();
        std::fs::write(both(&directory, server), [wrong, right].concat()).unwrap();
        // Each driver has its own database: PostgreSQL cannot create one table twice at once.
        for database in sample::SAMPLES {
            let owner = match server.cluster.kind() {
                Kind::Postgres => " OWNER demo",
                Kind::Cockroach => "",
            };
            server
                .cluster
                .execute(&format!("CREATE DATABASE \"{database}\"{owner}"))
                .unwrap();
        }
    }
    let version = String::from_utf8(psql().arg("--version").output().unwrap().stdout).unwrap();
    let major: u32 = version
        .split(['.', ' '])
        .find_map(|word| word.parse().ok())
        .expect("psql has a version");
    World {
        servers,
        directory,
        psql_knows_system: major >= 16,
    }
});

fn both(directory: &TempDir, server: &Server) -> PathBuf {
    directory
        .path()
        .join(format!("{}.crt", server.cluster.port()))
}

fn psql() -> Command {
    Command::new("psql")
}

struct Row {
    server: &'static Server,
    sslmode: &'static str,
    root: Root,
    host: &'static str,
}

impl Row {
    fn all() -> impl Iterator<Item = Row> {
        WORLD.servers.iter().flat_map(|server| {
            SSLMODES.into_iter().flat_map(move |sslmode| {
                ROOTS.into_iter().flat_map(move |root| {
                    HOSTS.into_iter().map(move |host| Row {
                        server,
                        sslmode,
                        root,
                        host,
                    })
                })
            })
        })
    }

    fn name(&self) -> String {
        format!(
            "{} sslmode={} root={:?} host={}",
            self.server.name, self.sslmode, self.root, self.host
        )
    }

    fn url(&self, database: &str) -> String {
        let cluster = &self.server.cluster;
        let (user, password, port) = (cluster.user(), cluster.password(), cluster.port());
        let mut url = format!(
            "postgresql://{user}:{password}@{}:{port}/{database}?sslmode={}",
            self.host, self.sslmode
        );
        let root = match self.root {
            Root::Right => Some(cluster.root_certificate()),
            Root::Wrong => Some(WORLD.directory.path().join("wrong.crt")),
            Root::WrongAndRight => Some(both(&WORLD.directory, self.server)),
            Root::MissingFile => Some(WORLD.directory.path().join("no.crt")),
            Root::System => Some("system".into()),
            Root::Absent => None,
        };
        if let Some(root) = root {
            let _ = write!(url, "&sslrootcert={}", root.display());
        }
        if self.server.sends_client_certificate {
            let (certificate, key) = cluster.client_certificate();
            let _ = write!(
                url,
                "&sslcert={}&sslkey={}",
                certificate.display(),
                key.display()
            );
        }
        url
    }

    /// Returns variables that make the right authority one of the operating system's. So the test
    /// fails for a driver that uses those authorities although a root certificate is given.
    fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("SSL_CERT_FILE", self.server.cluster.root_certificate()),
            ("SSL_CERT_DIR", "/nonexistent".into()),
        ]
    }

    fn with(&self, sslmode: &'static str, root: Root) -> Row {
        Row {
            server: self.server,
            sslmode,
            root,
            host: self.host,
        }
    }

    /// Returns whether this row should connect: psql's result, with the intended exceptions.
    fn should_connect(&self) -> bool {
        match (self.root, self.sslmode) {
            // libpq connects without the file. `crdb-connection` requires every file that is named.
            (Root::MissingFile, "require") => false,
            // libpq requires a file. `crdb-connection` uses the operating system's authorities.
            (Root::Absent, "verify-full") => self.with("verify-full", Root::Right).psql_connects(),
            // libpq knows `system` from version 16 on, and only with verify-full.
            (Root::System, "verify-full") if !WORLD.psql_knows_system => {
                self.with("verify-full", Root::Right).psql_connects()
            }
            (Root::System, _) if !WORLD.psql_knows_system => false,
            _ => self.psql_connects(),
        }
    }

    /// Returns whether SeaORM should connect. It differs from psql where sqlx does: with a root
    /// certificate, it verifies the name in every mode, refuses a file with several certificates,
    /// and also trusts the operating system's authorities, here the right one.
    fn sea_orm_connects(&self) -> bool {
        match (self.root, self.sslmode) {
            (_, "disable") | (Root::Absent | Root::MissingFile | Root::System, _) => {
                EXPECTED[&self.name()]
            }
            (Root::WrongAndRight, _) => false,
            (Root::Right | Root::Wrong, _) => {
                EXPECTED[&self.with("verify-full", Root::Right).name()]
            }
        }
    }

    fn psql_connects(&self) -> bool {
        let home = WORLD.directory.path();
        let mut psql = psql();
        psql.arg(self.url("defaultdb"))
            .args(["-X", "-c", "SELECT 1"])
            .env("HOME", home)
            .current_dir(home);
        psql.envs(self.variables())
            .output()
            .expect("psql runs")
            .status
            .success()
    }
}

/// The expected result of each row by the row's name.
static EXPECTED: LazyLock<BTreeMap<String, bool>> = LazyLock::new(|| {
    Row::all()
        .map(|row| (row.name(), row.should_connect()))
        .collect()
});

fn assert_connects_as_expected(sample: &str) {
    let home: &Path = WORLD.directory.path();
    let (mut accepted, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in Row::all() {
        let url = row.url(sample);
        let variables = row.variables();
        let mut variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, path)| (*name, path.to_str().unwrap()))
            .collect();
        variables.push(("DATABASE_URL", &url));
        let ended = sample::run(sample, home, &variables);
        let connects = ended.status == Some(0);
        let expected = match sample {
            "sea-orm-basic" => row.sea_orm_connects(),
            _ => EXPECTED[&row.name()],
        };
        if connects {
            accepted += 1;
        } else {
            refused += 1;
        }
        if connects != expected {
            wrong.push(format!(
                "{}: {}",
                row.name(),
                if connects { "accepted" } else { &ended.stderr }
            ));
        }
    }
    println!(
        "{sample}: {} rows, {accepted} accepted and {refused} refused",
        accepted + refused
    );
    assert!(
        wrong.is_empty(),
        "{} rows are not as expected:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(accepted > 40 && refused > 40);
}

#[test]
fn postgres_connects_exactly_where_psql_does() {
    assert_connects_as_expected("postgres-basic");
}

#[test]
fn tokio_postgres_connects_exactly_where_psql_does() {
    assert_connects_as_expected("tokio-postgres-basic");
}

#[test]
fn diesel_connects_exactly_where_psql_does() {
    assert_connects_as_expected("diesel-basic");
}

#[test]
fn sea_orm_connects_where_psql_does_or_where_sqlx_departs_from_it() {
    assert_connects_as_expected("sea-orm-basic");
}
