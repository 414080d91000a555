//! Reads the documents: their blocks, and the expected output of each sample.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file of this repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns what a command prints in the root of this repository.
pub fn printed(command: &str) -> String {
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", command]).current_dir(root()).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// A block between ``` fences: its language, its text, and the prose before it.
pub struct Block<'a> {
    pub language: &'a str,
    pub text: &'a str,
    pub before: &'a str,
}

/// Returns all blocks of a page, in their order.
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let parts: Vec<&str> = page.split("```").collect();
    let blocks = parts.windows(2).step_by(2).filter_map(|pair| {
        let (language, text) = pair[1].split_once('\n')?;
        let before = pair[0];
        Some(Block {
            language,
            text,
            before,
        })
    });
    blocks.collect()
}

/// Returns what a sample prints, from its row in README.md: the only list of expected outputs.
pub fn expected_output(sample: &str) -> String {
    let readme = read("README.md");
    let begin = format!("| `{sample}` | ");
    let mut lines = readme.lines();
    let row = lines
        .find_map(|line| line.strip_prefix(&begin))
        .expect("its row");
    let prints = row.split(" | ").nth(1).expect("the column of the output");
    let lines = prints.split('`').skip(1).step_by(2);
    lines.map(|line| format!("{line}\n")).collect()
}
