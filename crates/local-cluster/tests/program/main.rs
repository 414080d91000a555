//! The program `local-cluster`, which scripts/local-cluster runs.

mod cockroach;
mod command;
mod environment;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A directory in which the program runs. The cluster is stopped even if an assertion fails.
struct Directory {
    directory: TempDir,
    /// The value of `COCKROACH`. Without it, the tests' own.
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
            .envs(self.cockroach.map(|path| ("COCKROACH", path)))
            .env("COCKROACH_INSECURE", "true");
        command
    }

    /// Runs a command and returns what it prints.
    fn run(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Starts the background process and waits until the cluster is ready.
    fn daemon(&self, arguments: &str) -> Child {
        let mut daemon = self.command(arguments);
        let mut daemon = daemon.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(daemon.stdout.take().unwrap()).lines();
        assert_eq!(output.next().unwrap().unwrap(), "ready");
        daemon
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.run("stop");
    }
}
