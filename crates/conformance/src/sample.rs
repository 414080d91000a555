//! Runs the built samples as a user would.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::DRIVERS;

/// The exit status and the output of a sample that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit status.
    pub status: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// Returns the path of a built example.
pub fn example(name: &str) -> PathBuf {
    EXAMPLES.join(name)
}

/// Runs a sample in this directory with these variables. It inherits no connection settings.
pub fn run(sample: &str, directory: &Path, variables: &[(&str, &str)]) -> Ended {
    run_program(&example(sample), directory, variables)
}

/// Runs a sample, and asserts that it fails with a message that begins like this and prints nothing
/// else. Returns the message.
pub fn run_failing(
    sample: &str,
    directory: &Path,
    variables: &[(&str, &str)],
    begin: &str,
) -> String {
    let ended = run(sample, directory, variables);
    let message = ended.stderr.split("\n\nStack backtrace").next().unwrap();
    assert!(
        message.starts_with(begin),
        "{sample}: {message}, not {begin}"
    );
    let result = (ended.status, ended.stdout.as_str());
    assert_eq!(result, (Some(1), ""), "{sample}");
    message.to_owned()
}

/// Runs any program like [`run`].
pub fn run_program(program: &Path, directory: &Path, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // The first lines of an error must be the same with backtraces on.
    command.env("RUST_BACKTRACE", "1").env("HOME", directory);
    command
        .current_dir(directory)
        .envs(variables.iter().copied());
    let output = command.output().expect("the sample runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The directory of the built samples. The build is part of the test, so it runs no old sample.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    // With this package, Cargo chooses the features that the tests were compiled with.
    let others = ["conformance", "service"].into_iter();
    let names = others.chain(DRIVERS.iter().map(|driver| driver.name));
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--examples"])
        .args(names.map(|name| format!("-p=crdb-{name}")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(build.success(), "the samples do not build");
    let test = env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("target/debug/deps/NAME");
    profile.join("examples")
});

/// Returns the names of the samples `basic` or `transfer` of all drivers.
pub fn samples(kind: &str) -> impl DoubleEndedIterator<Item = String> {
    DRIVERS.iter().map(move |driver| driver.sample(kind))
}
