//! Each sample compiles its own driver and no other.

use std::path::Path;
use std::process::Command;

/// The crates that `cargo run --example …` compiles for the package with that example: its dependencies,
/// with the features that the whole workspace asks for.
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
fn no_sample_compiles_another_samples_driver() {
    let drivers = ["postgres", "diesel", "sea_orm"];
    for (package, own) in [
        ("crdb-postgres", "postgres"),
        ("crdb-diesel", "diesel"),
        ("crdb-sea-orm", "sea_orm"),
    ] {
        let compiled = compiled_for(package);
        for driver in drivers {
            let found = compiled.iter().any(|name| name == driver);
            assert_eq!(found, driver == own, "{package} and {driver}");
        }
        let sqlx = compiled.iter().any(|name| name == "sqlx");
        assert_eq!(sqlx, own == "sea_orm", "{package} and sqlx");
    }
}
