//! Each sample compiles its own driver and no other.

use std::path::Path;
use std::process::Command;

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
    // The postgres crate wraps tokio-postgres.
    let drivers = [
        ("crdb-postgres", &["postgres", "tokio_postgres"][..]),
        ("crdb-tokio-postgres", &["tokio_postgres", "deadpool"]),
        ("crdb-diesel", &["diesel"]),
        ("crdb-sqlx", &["sqlx"]),
        // SeaORM stands on sqlx.
        ("crdb-sea-orm", &["sea_orm", "sqlx"]),
    ];
    for (package, own) in drivers {
        let compiled = compiled_for(package);
        for name in drivers.iter().flat_map(|(_, names)| names.iter()) {
            let found = compiled.iter().any(|compiled| compiled == name);
            assert_eq!(found, own.contains(name), "{package} and {name}");
        }
    }
}
