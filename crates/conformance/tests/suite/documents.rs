//! The documents agree with the code.

use std::fs;
use std::path::PathBuf;

use crdb_conformance::{DRIVERS, sample};

use crate::markdown::{blocks, expected_output, printed, read, root};

/// Returns the paths of all documents, and their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let found = printed("find . -name '*.md' -not -path '*/target/*'");
    let pages = found.lines().map(|page| (root().join(page), read(page)));
    pages.collect()
}

/// Returns the targets of the links `[…](…)`.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let rests = page.split("](").skip(1);
    rests.map(|rest| rest.split(')').next().unwrap())
}

#[test]
fn every_listing_is_in_the_file_that_is_named_before_it() {
    let mut listings = 0;
    for (page, text) in pages() {
        for block in blocks(&text) {
            // The test `in_one_file` builds and runs the programs that replace src/main.rs.
            let is_program = block.before.ends_with("`src/main.rs`:\n\n");
            if is_program || !["rust", "sql"].contains(&block.language) {
                continue;
            }
            let is_source = |link: &&str| link.ends_with(".rs") || link.ends_with(".sql");
            let files = links(block.before).filter(is_source);
            let file = files.last().expect("a file is named");
            let source = fs::read_to_string(page.with_file_name("").join(file)).unwrap();
            let is_in_it = source.contains(block.text.trim_end());
            assert!(is_in_it, "{page:?}: a listing is not in {file}");
            listings += 1;
        }
    }
    assert!(listings >= 10, "{listings}");
}

#[test]
fn the_output_in_the_walkthrough_is_that_of_the_table() {
    let output = expected_output("postgres-basic");
    let listing = format!("The output should be:\n\n```text\n{output}```");
    assert!(read("README.md").contains(&listing), "{listing}");
}

#[test]
fn every_script_and_example_that_is_named_exists() {
    let others = [".env.example", "crates/connection/src/explain.rs"];
    let texts = pages().into_iter().map(|(_, text)| text);
    for text in texts.chain(others.map(read)) {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        for rest in text.split("scripts/").skip(1) {
            let name = rest.split(ends).next().unwrap();
            let exists = root().join("scripts").join(name).is_file();
            assert!(exists, "scripts/{name}");
        }
        for rest in text.split("--example ").skip(1) {
            let name = rest.split(ends).next().unwrap();
            let is_template = name == name.to_uppercase() || name == "compare";
            let exists = is_template || sample::example(name).is_file();
            assert!(exists, "--example {name}");
        }
    }
}

/// Returns the anchor of a heading.
fn anchor_of(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let anchor = title.replace(' ', "-");
    let is_kept = |c: &char| c.is_alphanumeric() || *c == '-';
    anchor.chars().filter(is_kept).collect()
}

#[test]
fn every_link_inside_the_repository_resolves() {
    for (page, text) in pages() {
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.with_file_name("").join(path),
            };
            assert!(target.exists(), "{page:?}: {link}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let resolves = headings.any(|line| anchor_of(line) == anchor);
                assert!(resolves, "{page:?}: {link}");
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
