//! The documents agree with the code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crdb_conformance::{DRIVERS, sample};

use crate::markdown::{blocks, expected_output, read, root};

/// The documents besides the drivers' pages.
const OTHERS: [&str; 8] = [
    "README.md",
    "examples/README.md",
    "examples/questions.md",
    "examples/migrations/README.md",
    "examples/compare/README.md",
    "examples/service/README.md",
    "crates/local-cluster/README.md",
    ".github/CONTRIBUTING.md",
];

/// Returns the paths of all documents.
fn pages() -> impl Iterator<Item = String> {
    let drivers = DRIVERS
        .iter()
        .map(|driver| format!("examples/{}/README.md", driver.name));
    OTHERS.map(str::to_owned).into_iter().chain(drivers)
}

/// Returns the targets of the links `[…](…)`.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let rests = page.split("](").skip(1);
    rests.map(|rest| rest.split(')').next().unwrap())
}

#[test]
fn every_listing_is_in_the_file_that_is_named_before_it() {
    let mut listings = 0;
    for page in pages().filter(|page| !page.starts_with("crates")) {
        let text = read(&page);
        for block in blocks(&text) {
            // The test `in_one_file` builds and runs the programs that replace src/main.rs.
            let is_program = block.before.ends_with("`src/main.rs`:\n\n");
            if is_program || !["rust", "sql"].contains(&block.language) {
                continue;
            }
            let file = links(block.before)
                .filter(|link| link.ends_with(".rs") || link.ends_with(".sql"))
                .last();
            let file = Path::new(&page)
                .with_file_name("")
                .join(file.expect("a file is named"));
            let source = read(file.to_str().unwrap());
            let found = source.contains(block.text.trim_end());
            assert!(found, "{page}: a listing is not in {}", file.display());
            listings += 1;
        }
    }
    assert!(listings >= 10, "{listings}");
}

#[test]
fn the_output_in_the_walkthrough_is_that_of_the_table() {
    let readme = read("README.md");
    let blocks = blocks(&readme);
    let output = blocks
        .iter()
        .find(|block| block.before.ends_with("The output should be:\n\n"));
    assert_eq!(output.unwrap().text, expected_output("postgres-basic"));
}

#[test]
fn every_script_and_example_that_is_named_exists() {
    let others = [".env.example", "crates/connection/src/explain.rs"];
    for page in pages().chain(others.map(str::to_owned)) {
        let text = read(&page);
        let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        for rest in text.split("scripts/").skip(1) {
            let name = rest.split(ends).next().unwrap();
            let metadata = fs::metadata(root().join("scripts").join(name));
            let mode = metadata
                .unwrap_or_else(|_| panic!("{page}: scripts/{name}"))
                .permissions();
            assert!(mode.mode() & 0o111 != 0, "scripts/{name} can be run");
        }
        for rest in text.split("--example ").skip(1) {
            let name = rest.split(ends).next().unwrap();
            let is_template = !name.chars().any(|c| c.is_ascii_lowercase());
            let exists = is_template || name == "compare" || sample::example(name).is_file();
            assert!(exists, "{page}: --example {name}");
        }
    }
}

#[test]
fn every_link_inside_the_repository_resolves() {
    for page in pages() {
        let text = read(&page);
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root().join(&page)
            } else {
                root().join(&page).with_file_name("").join(path)
            };
            assert!(target.exists(), "{page}: {link}");
            let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-';
            let anchor_of = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                title
                    .chars()
                    .filter(kept)
                    .collect::<String>()
                    .replace(' ', "-")
            };
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor_of(line) == anchor),
                    "{page}: {link}"
                );
            }
        }
    }
}

/// Returns the version in the line that begins with `key`.
fn version<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let begin = format!("{key} = ");
    let line = manifest.lines().find(|line| line.starts_with(&begin))?;
    let mut quoted = line.split('"');
    quoted.find(|text| text.starts_with(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_readme_names_the_versions_that_are_built_and_tested() {
    let (readme, manifest) = (read("README.md"), read("Cargo.toml"));
    for driver in DRIVERS {
        let page = format!("examples/{}", driver.name);
        let used = version(&manifest, driver.crates[0]).unwrap();
        let begin = format!("| [{}]({page}/README.md) {used} |", driver.title);
        let package = read(&format!("{page}/Cargo.toml"));
        let lowest = version(&package, "rust-version");
        let lowest = lowest.or(version(&manifest, "rust-version")).unwrap();
        let end = format!("| {} | {lowest} |", driver.round_trips.transfer);
        let is_row = |line: &str| line.starts_with(&begin) && line.ends_with(&end);
        assert!(readme.lines().any(is_row), "{begin} … {end}");
    }
    let ci = read(".github/workflows/ci.yml");
    let (_, versions) = ci.split_once("version: [").unwrap();
    for version in versions.split(']').next().unwrap().split(", ") {
        let (release, _) = version[1..].rsplit_once('.').unwrap();
        assert!(readme.contains(release), "CockroachDB {release}");
    }
}
