//! Each sample compiles its own driver and no other, and what is common to all drivers names none.

use crdb_conformance::DRIVERS;

use crate::markdown::printed;

#[test]
fn no_sample_compiles_the_driver_of_another_sample() {
    for driver in DRIVERS {
        let tree = "cargo tree --prefix=none --format={lib} --edges=normal,build,dev --package";
        let tree = printed(&format!("{tree} crdb-{}", driver.name));
        for name in DRIVERS.iter().flat_map(|driver| driver.crates) {
            let is_compiled = tree.lines().any(|line| line == name.replace('-', "_"));
            let is_own = driver.crates.contains(name);
            assert_eq!(is_compiled, is_own, "{name} for {}", driver.name);
        }
    }
}

/// `postgres` is also the name of the server, so it may stand everywhere.
#[test]
fn no_file_but_its_own_names_a_driver() {
    let others = DRIVERS.iter().filter(|driver| driver.name != "postgres");
    let names = others.map(|driver| format!("{}|{}", driver.name, driver.title));
    let names = names.collect::<Vec<_>>().join("|").replace('-', "[-_]");
    let code = "crates/conformance examples/compare scripts --exclude={'*.md','*.toml','*.json'}";
    let printed = printed(&format!("grep -rIE '{names}' {code} | grep -vE ':\\s*//'"));
    // The list, and the file of each driver.
    let modules = DRIVERS.iter().map(|driver| driver.name).chain(["lib"]);
    let own = modules.map(|name| format!("conformance/src/{}.rs:", name.replace('-', "_")));
    let own: Vec<String> = own.collect();
    let is_own = |line: &&str| own.iter().any(|own| line.contains(own));
    let (found, others): (Vec<&str>, Vec<&str>) = printed.lines().partition(is_own);
    assert!(!found.is_empty() && others.is_empty(), "{others:#?}");
}
