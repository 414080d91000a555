//! Copies the retry functions with a time limit that a test can wait for.

use std::path::Path;
use std::{env, fs};

fn main() {
    let directory = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    for driver in ["postgres", "tokio-postgres", "diesel", "sqlx", "sea-orm"] {
        let path = format!("../../examples/{driver}/src/transaction.rs");
        println!("cargo::rerun-if-changed={path}");
        let text = fs::read_to_string(&path).expect(&path);
        let brief = text.replacen("from_secs(30)", "from_secs(1)", 1);
        assert_ne!(brief, text, "{path} has no time limit of 30 seconds");
        // An included file cannot have a header, and the examples of the documentation are tested once.
        let is_code = |line: &&str| !line.starts_with("//");
        let code: Vec<&str> = brief.lines().filter(is_code).collect();
        let copy = Path::new(&directory).join(format!("{driver}.rs"));
        fs::write(copy, code.join("\n")).expect("OUT_DIR can be written");
    }
}
