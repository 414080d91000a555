//! Reads the documents: their blocks, and the expected output of each sample.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the root of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file of this repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A block between ``` fences: its language, its text, and the prose before it.
pub struct Block<'a> {
    pub language: &'a str,
    pub text: &'a str,
    pub before: &'a str,
}

/// Returns all blocks of a page, in their order.
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut parts = page.split("```");
    let mut before = parts.next().unwrap();
    let mut blocks = Vec::new();
    while let (Some(block), Some(after)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        blocks.push(Block {
            language,
            text,
            before,
        });
        before = after;
    }
    blocks
}

/// Returns what a sample prints, from its row in README.md: the only list of expected outputs.
pub fn expected_output(sample: &str) -> String {
    let readme = read("README.md");
    let begin = format!("| `{sample}` | ");
    let row = readme
        .lines()
        .find_map(|line| line.strip_prefix(&begin))
        .expect("its row");
    let prints = row.split(" | ").nth(1).expect("the column of the output");
    prints
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|line| format!("{line}\n"))
        .collect()
}
