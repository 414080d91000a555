//! Does what the driver's pages tell a reader to do in a new project.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use crdb_conformance::{DRIVERS, sample};
use crdb_local_cluster::Cluster;

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

/// Builds the project `accounts` with these files, and returns what it prints.
fn build_and_run(project: &Path, files: &[(&str, &str)]) -> String {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // All projects of the pages have the same name, and share a target directory and a server.
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, text) in files {
        fs::write(project.join(name), text).unwrap();
    }
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
    let is_published = !create.contains("crdb") && !program.contains("crdb");
    assert!(is_published, "only published crates");
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
    let lock = read("Cargo.lock");
    let dotenv = format!("DATABASE_URL='{}'\n", CLUSTER.url());
    let files = [
        ("Cargo.lock", &*lock),
        (".env", &dotenv),
        ("src/main.rs", program),
    ];
    assert_eq!(build_and_run(&project, &files), basic_output, "{driver}");

    run(&project, add);
    let transfer = apply(diff, &read(&format!("examples/{driver}/transfer.rs")));
    let connect = &program[program.find("/// C").unwrap()..];
    let (connect, _) = connect.split_once("\n}\n").unwrap();
    let main = format!("{transfer}\n{connect}\n}}\n");
    let transaction = read(&format!("examples/{driver}/src/transaction.rs"));
    let files = [
        ("src/main.rs", &*main),
        ("src/transaction.rs", &transaction),
    ];
    assert_eq!(build_and_run(&project, &files), transfer_output, "{driver}");
}

#[test]
fn the_program_in_one_file_runs_with_each_driver() {
    thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || in_one_file(driver.name));
        }
    });
}

/// Returns the block for Cargo.toml of a page.
fn manifest(page: &str) -> String {
    let page = read(page);
    let mut blocks = blocks(&page).into_iter();
    let block = blocks.find(|block| block.language == "toml");
    block.unwrap().text.to_owned()
}

/// The tests of the common page need the dependencies on the page of postgres.
#[test]
fn the_samples_and_the_tests_compile_unchanged_in_a_project_beside_this_repository() {
    let root = fs::canonicalize(root()).unwrap();
    for driver in DRIVERS.iter().map(|driver| driver.name) {
        let directory = tempfile::tempdir().unwrap();
        let package = "[package]\nname = \"accounts\"\nedition = \"2024\"\n";
        let mut manifest = package.to_owned() + &manifest(&format!("examples/{driver}/README.md"));
        let mut files = vec![("basic.rs", "src/bin"), ("transfer.rs", "src/bin")];
        if driver == "postgres" {
            manifest += &self::manifest("examples/README.md");
            files.extend([
                ("tests/own_test.rs", "tests"),
                ("tests/shared_server.rs", "tests"),
            ]);
        }
        let manifest = manifest.replace("../rust-cockroachdb", root.to_str().unwrap());
        fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), directory.path().join("Cargo.lock")).unwrap();
        for (file, to) in files {
            let to = directory.path().join(to);
            fs::create_dir_all(&to).unwrap();
            let file = root.join("examples").join(driver).join(file);
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
        run(directory.path(), "cargo build --quiet --all-targets");
    }
}
