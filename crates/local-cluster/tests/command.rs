//! The commands `local-cluster start`, `url` and `stop`, which scripts/local-cluster runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn local_cluster(directory: &Path, argument: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_local-cluster");
    Command::new(program)
        .arg(argument)
        .current_dir(directory)
        .output()
        .expect("local-cluster can be run")
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("the output is UTF-8")
}

/// A directory with a started cluster, which is stopped even if an assertion fails.
struct Started(TempDir);

impl Started {
    fn start(directory: TempDir) -> (Started, String) {
        let started = Started(directory);
        let printed = stdout(&local_cluster(started.0.path(), "start"));
        (started, printed)
    }

    fn run(&self, argument: &str) -> Output {
        local_cluster(self.0.path(), argument)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.run("stop");
    }
}

#[test]
fn start_prints_the_url_and_stop_removes_only_what_start_wrote() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mine"), "untouched").unwrap();
    let (cluster, printed) = Started::start(directory);

    let url = stdout(&cluster.run("url"));
    assert!(url.starts_with("postgresql://demo:"), "{url}");
    assert!(
        printed.contains(&format!("DATABASE_URL='{}'", url.trim())),
        "{printed}"
    );

    let dotenv = cluster.0.path().join(".env");
    assert!(
        fs::read_to_string(&dotenv)
            .unwrap()
            .contains(&format!("DATABASE_URL='{}'", url.trim()))
    );
    assert_eq!(
        fs::metadata(&dotenv).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let again = stdout(&cluster.run("start"));
    assert!(again.contains("already running"), "{again}");
    assert_eq!(stdout(&cluster.run("url")), url);

    let root = url.trim().rsplit_once("sslrootcert=").unwrap().1.to_owned();
    assert!(Path::new(&root).exists());
    stdout(&cluster.run("stop"));
    assert!(
        !Path::new(&root).exists(),
        "stop removes the server's directory"
    );
    let left: Vec<_> = fs::read_dir(cluster.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mine"]);

    let url = cluster.run("url");
    assert_eq!(url.status.code(), Some(1));
    assert!(url.stdout.is_empty());
}

#[test]
fn an_existing_dotenv_is_neither_overwritten_nor_removed() {
    let directory = tempfile::tempdir().unwrap();
    let dotenv = directory.path().join(".env");
    fs::write(&dotenv, "DATABASE_URL=mine\n").unwrap();
    let (cluster, printed) = Started::start(directory);
    assert!(printed.contains("was not changed"), "{printed}");
    stdout(&cluster.run("stop"));
    assert_eq!(fs::read_to_string(&dotenv).unwrap(), "DATABASE_URL=mine\n");
}

#[test]
fn a_dotenv_that_changed_after_start_wrote_it_is_kept() {
    let (cluster, _) = Started::start(tempfile::tempdir().unwrap());
    let dotenv = cluster.0.path().join(".env");
    let mut text = fs::read_to_string(&dotenv).unwrap();
    text += "MINE=1\n";
    fs::write(&dotenv, &text).unwrap();
    stdout(&cluster.run("stop"));
    assert_eq!(fs::read_to_string(&dotenv).unwrap(), text);
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let output = local_cluster(Path::new("/"), "restart");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start [--nodes 3] | stop | url"));
}
