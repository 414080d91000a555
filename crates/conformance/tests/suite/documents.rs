//! The documents agree with the code.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::page::root;
use crate::page::{blocks, read};
use crdb_conformance::sample;
use crdb_local_cluster::{Cluster, Kind};

const PAGES: [&str; 6] = [
    "README.md",
    "examples/postgres/README.md",
    "examples/tokio-postgres/README.md",
    "examples/diesel/README.md",
    "examples/sea-orm/README.md",
    ".github/CONTRIBUTING.md",
];

/// Returns the targets of the links `[…](…)`.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
}

#[test]
fn every_listing_is_in_the_file_that_is_named_before_it() {
    let mut listings = 0;
    for page in PAGES {
        let text = read(page);
        for block in blocks(&text)
            .iter()
            .filter(|block| ["rust", "sql"].contains(&block.language))
        {
            let file = links(block.before)
                .filter(|link| link.ends_with(".rs"))
                .last()
                .expect("a file is named");
            let source = read(
                Path::new(page)
                    .with_file_name("")
                    .join(file)
                    .to_str()
                    .unwrap(),
            );
            assert!(
                source.contains(block.text.trim_end()),
                "{page}: a listing is not in {file}"
            );
            listings += 1;
        }
    }
    assert_eq!(
        listings,
        4 * 8 + 4,
        "eight on each driver's page, and four in README.md"
    );
}

#[test]
fn every_output_in_the_documents_is_what_the_sample_prints() {
    let cluster = Cluster::start_as(Kind::Postgres).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut promised = BTreeSet::new();
    for page in PAGES {
        let text = read(page);
        let mut command = "";
        for block in blocks(&text) {
            if let Some(name) = block.text.trim().strip_prefix("cargo run --example ") {
                command = name;
            }
            if block.before.contains("The output should be:") {
                let ended = sample::run(
                    command,
                    directory.path(),
                    &[("DATABASE_URL", &cluster.url())],
                );
                assert_eq!(ended.stdout, block.text, "{page}: {command}");
                promised.insert(command.to_owned());
            }
        }
    }
    assert_eq!(promised.len(), 8);
    let readme = read("README.md");
    for sample in promised {
        let ended = sample::run(
            &sample,
            directory.path(),
            &[("DATABASE_URL", &cluster.url())],
        );
        let lines: Vec<String> = ended
            .stdout
            .lines()
            .map(|line| format!("`{line}`"))
            .collect();
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{sample}` |")))
            .expect("its row");
        assert!(row.contains(&lines.join(" ")), "{row}");
    }
}

#[test]
fn every_script_and_example_that_is_named_exists() {
    for page in PAGES.iter().chain(&[
        ".env.example",
        "crates/connection/src/error.rs",
        "crates/connection/src/advice.rs",
    ]) {
        let text = read(page);
        let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        for rest in text.split("scripts/").skip(1) {
            let name = rest.split(ends).next().unwrap();
            let script = root().join("scripts").join(name);
            let mode = fs::metadata(&script)
                .unwrap_or_else(|_| panic!("{page}: scripts/{name}"))
                .permissions()
                .mode();
            assert!(mode & 0o111 != 0, "scripts/{name} can be run");
        }
        for rest in text.split("--example ").skip(1) {
            let name = rest.split(ends).next().unwrap();
            assert!(sample::example(name).is_file(), "{page}: --example {name}");
        }
    }
}

#[test]
fn every_link_inside_the_repository_resolves() {
    for page in PAGES {
        let text = read(page);
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root().join(page)
            } else {
                root().join(page).with_file_name("").join(path)
            };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let anchors = headings
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| {
                        let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-';
                        let title = line.trim_start_matches('#').trim();
                        title
                            .to_lowercase()
                            .chars()
                            .filter(kept)
                            .collect::<String>()
                            .replace(' ', "-")
                    });
                assert!(
                    anchors.into_iter().any(|found| found == anchor),
                    "{page}: {link}"
                );
            }
        }
    }
}
