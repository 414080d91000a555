//! Does what the driver's pages tell a reader to do in a new project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use crdb_conformance::{DRIVERS, sample};
use crdb_local_cluster::Cluster;
use tempfile::TempDir;

use crate::markdown::{blocks, read, root};

/// All projects share it: most of their dependencies are the same.
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/pages");

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start().unwrap());

/// Runs commands in a directory, as in a terminal.
fn run(directory: &Path, commands: &str) {
    let mut bash = Command::new("bash");
    bash.args(["-ec", commands]).current_dir(directory);
    bash.env("CARGO_TARGET_DIR", TARGET)
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    let output = bash.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {stderr}");
}

/// Builds the project `accounts` and returns what it prints.
fn build_and_run(project: &Path) -> String {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // All projects of the pages have the same name, and share a target directory and a server.
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    run(project, "cargo build --quiet");
    let program = Path::new(TARGET).join("debug/accounts");
    let ended = sample::run_program(&program, project, &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

/// Replaces the lines that begin with `-` by those that follow with `+`.
fn apply(diff: &str, source: &str) -> String {
    let mut changed = source.to_owned();
    for hunk in diff.split("\n\n") {
        let lines = |sign: char| -> String {
            let lines = hunk.lines().filter_map(|line| line.strip_prefix(sign));
            lines.map(|line| format!("{line}\n")).collect()
        };
        let (old, new) = (lines('-'), lines('+'));
        assert!(!old.is_empty() && changed.contains(&old), "{old}");
        changed = changed.replacen(&old, &new, 1);
    }
    changed
}

fn in_one_file(driver: &str) {
    let page = read(&format!("examples/{driver}/README.md"));
    let (_, section) = page.split_once("## In one file\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = blocks(section);
    let languages: Vec<&str> = blocks.iter().map(|block| block.language).collect();
    assert_eq!(languages, ["sh", "rust", "text", "sh", "diff", "text"]);
    let [create, program, basic_output, add, diff, transfer_output] =
        [0, 1, 2, 3, 4, 5].map(|n| blocks[n].text);
    assert!(
        !create.contains("crdb") && !program.contains("crdb"),
        "only published crates"
    );
    let functions = &program[program.find("/// Creates two accounts").unwrap()..];
    let basic = read(&format!("examples/{driver}/basic.rs"));
    assert!(
        basic.contains(functions),
        "{driver}: the functions are the sample's"
    );

    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("accounts");
    run(directory.path(), create);
    // The versions that this repository was tested with.
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    fs::write(
        project.join(".env"),
        format!("DATABASE_URL='{}'\n", CLUSTER.url()),
    )
    .unwrap();
    fs::write(project.join("src/main.rs"), program).unwrap();
    assert_eq!(build_and_run(&project), basic_output, "{driver}");

    run(&project, add);
    let transfer = apply(diff, &read(&format!("examples/{driver}/transfer.rs")));
    let connect = &program[program.find("/// C").unwrap()..];
    let (connect, _) = connect.split_once("\n}\n").unwrap();
    fs::write(
        project.join("src/main.rs"),
        format!("{transfer}\n{connect}\n}}\n"),
    )
    .unwrap();
    let transaction = read(&format!("examples/{driver}/src/transaction.rs"));
    fs::write(project.join("src/transaction.rs"), transaction).unwrap();
    assert_eq!(build_and_run(&project), transfer_output, "{driver}");
}

#[test]
fn the_program_in_one_file_runs_with_each_driver() {
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || in_one_file(driver.name));
        }
    });
}

/// Creates a project beside a clone of this repository, with these lines in its Cargo.toml.
fn project(dependencies: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "cargo new --quiet accounts");
    let project = directory.path().join("accounts");
    let here = fs::canonicalize(root()).unwrap();
    let dependencies = dependencies.replace("../rust-cockroachdb", here.to_str().unwrap());
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("[dependencies]\n", &dependencies);
    fs::write(project.join("Cargo.toml"), manifest).unwrap();
    fs::copy(here.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    (directory, project)
}

/// Returns the block for Cargo.toml of a page.
fn manifest(page: &str) -> String {
    let page = read(page);
    let mut blocks = blocks(&page).into_iter();
    blocks
        .find(|block| block.language == "toml")
        .unwrap()
        .text
        .to_owned()
}

#[test]
fn the_samples_run_unchanged_in_a_project_beside_this_repository() {
    for driver in DRIVERS.iter().map(|driver| driver.name) {
        let (_directory, project) = project(&manifest(&format!("examples/{driver}/README.md")));
        for sample in ["basic", "transfer"] {
            let source = read(&format!("examples/{driver}/{sample}.rs"));
            fs::create_dir_all(project.join("src/bin")).unwrap();
            fs::write(
                project.join(format!("src/bin/{driver}-{sample}.rs")),
                source,
            )
            .unwrap();
        }
        run(&project, "cargo build --quiet");
    }
}

#[test]
fn the_tests_on_the_common_page_pass_in_a_new_project() {
    let page = read("examples/README.md");
    let dependencies = manifest("examples/postgres/README.md");
    let (_directory, project) = project(&(dependencies + &manifest("examples/README.md")));
    let blocks = blocks(&page);
    let is_test = |text: &&str| text.contains("Cluster::start()");
    let tests: Vec<&str> = blocks
        .iter()
        .map(|block| block.text)
        .filter(is_test)
        .collect();
    assert_eq!(tests.len(), 2);
    fs::create_dir(project.join("tests")).unwrap();
    fs::write(project.join("tests/own.rs"), tests[0]).unwrap();
    fs::write(project.join("tests/shared.rs"), tests[1]).unwrap();
    run(&project, "cargo test --quiet");
}
