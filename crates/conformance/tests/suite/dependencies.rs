//! Each sample compiles its own driver and no other, and what is common to all drivers names none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crdb_conformance::{DRIVERS, Facts};

use crate::markdown::root;

/// Returns the names of the crates that Cargo compiles for a package.
fn compiled_for(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--prefix=none",
            "--format={lib}",
            "--edges=normal,build,dev",
            "--package",
            package,
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo runs");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    String::from_utf8(tree.stdout)
        .expect("text")
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_sample_compiles_the_driver_of_another_sample() {
    let own = |driver: &Facts| {
        driver
            .crates
            .iter()
            .map(|name| name.replace('-', "_"))
            .collect()
    };
    let drivers: Vec<(String, Vec<String>)> = DRIVERS
        .iter()
        .map(|driver| (format!("crdb-{}", driver.name), own(driver)))
        .collect();
    for (package, own) in &drivers {
        let compiled = compiled_for(package);
        for name in drivers.iter().flat_map(|(_, names)| names) {
            assert_eq!(
                compiled.contains(name),
                own.contains(name),
                "{package} and {name}"
            );
        }
    }
}

/// Returns the files in this directory and below it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = paths.map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    below.collect::<Vec<_>>().concat()
}

/// `postgres` is also the name of the server, so it may stand everywhere.
#[test]
fn no_file_but_its_own_names_a_driver() {
    let directories = ["crates/conformance", "examples/compare", "scripts"];
    let list = root().join("crates/conformance/src/lib.rs");
    let mut found = Vec::new();
    for file in directories
        .iter()
        .flat_map(|directory| files(&root().join(directory)))
    {
        let extension = file.extension().unwrap_or_default();
        let is_document = ["md", "toml", "png", "json"]
            .iter()
            .any(|known| extension == *known);
        let is_of_driver = DRIVERS.iter().any(|driver| {
            let module = driver.name.replace('-', "_");
            file.ends_with(format!("conformance/src/{module}.rs"))
        });
        if file == list || is_document || is_of_driver {
            continue;
        }
        for driver in DRIVERS.iter().filter(|driver| driver.name != "postgres") {
            let module = driver.name.replace('-', "_");
            let text = fs::read_to_string(&file).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let names = [driver.name, driver.title, &module];
            let lines = code.filter(|line| names.iter().any(|name| line.contains(name)));
            found.extend(lines.map(|line| format!("{}: {line}", file.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
