//! Copies the retry functions with a time limit that a test can wait for.

use std::path::Path;
use std::{env, fs};

fn main() {
    let directory = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    for package in fs::read_dir("../../examples").expect("the packages of the drivers") {
        let package = package.expect("a package").path();
        let path = package.join("src/transaction.rs");
        if !path.exists() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).expect("it can be read");
        let brief = text.replacen("from_secs(30)", "from_secs(1)", 1);
        assert_ne!(
            brief,
            text,
            "no time limit of 30 seconds: {}",
            path.display()
        );
        // An included file cannot have a header, and the examples of the documentation are tested once.
        let is_code = |line: &&str| !line.starts_with("//");
        let code: Vec<&str> = brief.lines().filter(is_code).collect();
        let driver = package.file_name().expect("a directory has a name");
        let copy = Path::new(&directory).join(driver).with_extension("rs");
        fs::write(copy, code.join("\n")).expect("OUT_DIR can be written");
    }
}
