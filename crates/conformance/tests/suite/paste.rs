//! Copies the listings of a page into a new project, as a reader does, and builds and runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::page::root;
use crate::page::{blocks, read};
use crdb_conformance::sample;
use crdb_local_cluster::{Cluster, Kind};

/// All projects share it: most of their dependencies are the same.
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/paste");

fn cargo(directory: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", TARGET)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Creates a project in a new directory, with the page's lines in Cargo.toml.
fn project(name: &str, dependencies: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("src/bin")).unwrap();
    let here = fs::canonicalize(root()).unwrap();
    let dependencies = dependencies.replace("../rust-cockroachdb", here.to_str().unwrap());
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{dependencies}"
    );
    fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
    // The versions that this repository was tested with.
    fs::copy(here.join("Cargo.lock"), directory.path().join("Cargo.lock")).unwrap();
    directory
}

fn page_works(driver: &str) {
    let page = read(&format!("examples/{driver}/README.md"));
    let in_language = |language: &str| {
        let blocks = blocks(&page)
            .into_iter()
            .filter(|block| block.language == language);
        blocks.map(|block| block.text).collect::<Vec<_>>()
    };
    let (manifests, listings, outputs) = (
        in_language("toml"),
        in_language("rust"),
        in_language("text"),
    );
    assert_eq!(
        (manifests.len(), listings.len(), outputs.len()),
        (2, 8, 2),
        "{driver}"
    );

    // The page has all of basic.rs, and parts of transfer.rs.
    let pasted = project(&format!("{driver}-pasted"), manifests[0]);
    let transfer = read(&format!("examples/{driver}/transfer.rs"));
    for (name, text) in [("basic", listings[0]), ("transfer", &transfer)] {
        let file = pasted.path().join(format!("src/bin/{driver}-{name}.rs"));
        fs::write(file, text).unwrap();
    }
    cargo(pasted.path(), &["build", "--quiet"]);
    let cluster = Cluster::start_as(*Kind::available().unwrap().last().unwrap()).unwrap();
    for (name, expected) in ["basic", "transfer"].iter().zip(&outputs) {
        let program = Path::new(TARGET).join(format!("debug/{driver}-{name}"));
        let ended =
            sample::run_program(&program, pasted.path(), &[("DATABASE_URL", &cluster.url())]);
        assert_eq!(
            (ended.status, ended.stdout.as_str(), ended.stderr.as_str()),
            (Some(0), *expected, ""),
            "{driver} {name}"
        );
    }

    // The retry function, with what the page says it needs and nothing of this repository.
    let copied = project(&format!("{driver}-copied"), manifests[1]);
    assert!(!manifests[1].contains("crdb"));
    let transaction = read(&format!("examples/{driver}/src/transaction.rs"));
    fs::write(copied.path().join("src/lib.rs"), transaction).unwrap();
    cargo(copied.path(), &["build", "--quiet"]);
}

#[test]
fn the_listings_of_the_postgres_page_run_in_a_new_project() {
    page_works("postgres");
}

#[test]
fn the_test_in_the_readme_passes_in_a_new_project() {
    let (page, readme) = (read("examples/postgres/README.md"), read("README.md"));
    let toml = |page| {
        let mut blocks = blocks(page).into_iter();
        blocks.find(|block| block.language == "toml").unwrap().text
    };
    let blocks = blocks(&readme);
    let listing = blocks
        .iter()
        .find(|block| block.text.contains("Cluster::start()"));
    let own = project("own", &format!("{}\n{}", toml(&page), toml(&readme)));
    fs::create_dir(own.path().join("tests")).unwrap();
    fs::write(own.path().join("src/lib.rs"), "").unwrap();
    fs::write(own.path().join("tests/own.rs"), listing.unwrap().text).unwrap();
    cargo(own.path(), &["test", "--quiet"]);
}

#[test]
fn the_listings_of_the_tokio_postgres_page_run_in_a_new_project() {
    page_works("tokio-postgres");
}

#[test]
fn the_listings_of_the_diesel_page_run_in_a_new_project() {
    page_works("diesel");
}

#[test]
fn the_listings_of_the_sea_orm_page_run_in_a_new_project() {
    page_works("sea-orm");
}
