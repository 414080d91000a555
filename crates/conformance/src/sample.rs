//! Runs the built samples as a user would.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

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

/// Runs any program like [`run`].
pub fn run_program(program: &Path, directory: &Path, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // The first lines of an error must be the same with backtraces on.
    command
        .env("RUST_BACKTRACE", "1")
        .env("HOME", directory)
        .current_dir(directory);
    let output = command
        .envs(variables.iter().copied())
        .output()
        .expect("the sample runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The directory of the built samples. The build is part of the test, so it runs no old sample.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // With this package, Cargo chooses the features that the tests were compiled with.
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--examples", "-p=crdb-conformance"])
        .args(["-p=crdb-postgres", "-p=crdb-tokio-postgres"])
        .args(["-p=crdb-diesel", "-p=crdb-sea-orm"])
        .current_dir(root)
        .status()
        .expect("cargo runs");
    assert!(build.success(), "the samples do not build");
    let test = env::current_exe().expect("a test has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps/NAME");
    profile.join("examples")
});

/// One sample of each driver.
pub const SAMPLES: [&str; 4] = [
    "postgres-basic",
    "tokio-postgres-basic",
    "diesel-basic",
    "sea-orm-basic",
];

/// Asserts that one sample of each driver fails and that its output begins with this message. After
/// it, anyhow prints the causes.
pub fn assert_refused(directory: &Path, variables: &[(&str, &str)], message: &str) {
    for sample in SAMPLES {
        assert_failed(
            &run(sample, directory, variables),
            message,
            &format!("{sample} with {variables:?}"),
        );
    }
}

/// Asserts that a sample ended with status 1, printed nothing on standard output, and began its
/// standard error with this message.
pub fn assert_failed(ended: &Ended, message: &str, name: &str) {
    let expected = format!("Error: {message}\n");
    let begins = ended.stderr.starts_with(&expected);
    assert!(
        begins,
        "{name}: expected {expected:?}, got {:?}",
        ended.stderr
    );
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (Some(1), ""),
        "{name}"
    );
}

/// Like [`assert_refused`], with this connection string.
pub fn assert_url_refused(directory: &Path, url: &str, message: &str) {
    assert_refused(directory, &[("DATABASE_URL", url)], message);
}
