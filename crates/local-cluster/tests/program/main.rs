//! The program `local-cluster`, which scripts/local-cluster runs.

mod cockroach;
mod command;
mod environment;

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A directory in which the program runs. The cluster is stopped even if an assertion fails.
struct Directory {
    directory: TempDir,
    /// The only CockroachDB, if it is `Some`; if it is empty, there is none.
    cockroach: Option<&'static str>,
}

impl Directory {
    fn new(cockroach: Option<&'static str>) -> Directory {
        Directory {
            directory: tempfile::tempdir().unwrap(),
            cockroach,
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-cluster"));
        command
            .args(arguments.split(' '))
            .current_dir(&self.directory)
            .env("COCKROACH_INSECURE", "true");
        if let Some(cockroach) = self.cockroach {
            command
                .env("COCKROACH", cockroach)
                .env("PATH", "/usr/bin:/bin")
                .env("XDG_CACHE_HOME", "/nonexistent");
        }
        command
    }

    /// Runs a command and returns what it prints.
    fn run(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.run("stop");
    }
}
