//! The program works in any environment that it is started in.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;

use crate::Directory;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/local-cluster");

/// Creates a directory with these permissions.
fn create(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn any_tmpdir_works_and_its_string_is_that_of_psql() {
    let base = tempfile::tempdir().unwrap();
    create(base.path(), 0o755);
    let odd = base.path().join(r#"a b#c&d'e,f%20g"h\i$j=ü"#);
    let long = odd.join("x".repeat(120));
    create(&odd, 0o755);
    create(&long, 0o755);
    // If root runs the test, the server's user cannot enter this one.
    let private = base.path().join("private");
    create(&private, 0o700);
    let missing = base.path().join("missing");
    let is_root = Uid::effective().is_root();
    for (tmpdir, is_used) in [(long, true), (private, !is_root), (missing, false)] {
        let directory = Directory::new(Some(""));
        let mut start = directory.command("start");
        start.env("TMPDIR", &tmpdir).output().unwrap();
        let cluster = fs::read_link(directory.path(".local-cluster/cluster")).unwrap();
        assert_eq!(cluster.starts_with(tmpdir), is_used, "{cluster:?}");
        let url = directory.run("url");
        let psql = Command::new("psql")
            .args(["-X", "-At", url.trim(), "-c", "SELECT 7"])
            .output();
        assert_eq!(psql.unwrap().stdout, b"7\n", "{url}");
        directory.run("stop");
        assert!(!cluster.exists());
    }
}

#[test]
fn start_keeps_no_descriptor_open_and_output_that_is_not_read_is_no_error() {
    let directory = Directory::new(Some(""));
    let started = Command::new("bash")
        .args(["-c", r#""$0" start 57>&1 | (read -rt 60 -d '' _; echo $?)"#])
        .arg(env!("CARGO_BIN_EXE_local-cluster"))
        .current_dir(directory.path(""))
        .env("COCKROACH", "")
        .output();
    // 1 is the end of the pipe; after the time limit it would be 142.
    assert_eq!(started.unwrap().stdout, b"1\n");

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = directory.command("url").stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn what_a_killed_program_left_is_removed_if_it_has_the_password() {
    for (password, is_removed) in [("secret", true), ("other", false)] {
        let directory = Directory::new(Some(""));
        let left = tempfile::tempdir().unwrap();
        fs::write(left.path().join("password"), password).unwrap();
        fs::create_dir(directory.path(".local-cluster")).unwrap();
        symlink(left.path(), directory.path(".local-cluster/cluster")).unwrap();
        let dotenv = "DATABASE_URL='postgresql://demo:secret@localhost:1/defaultdb'\n";
        fs::write(directory.path(".local-cluster/env"), dotenv).unwrap();
        assert_eq!(directory.run("stop"), "No local cluster is running.\n");
        assert_eq!(left.path().exists(), !is_removed);
        assert!(!directory.path(".local-cluster").exists());
    }
}

#[test]
fn the_script_runs_in_the_checkout_wherever_and_however_it_is_called() {
    let directory = Directory::new(None);
    let cargo = directory.path("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"$PWD: $*\"\n").unwrap();
    fs::set_permissions(&cargo, Permissions::from_mode(0o700)).unwrap();
    symlink(SCRIPT, directory.path("link")).unwrap();
    let root = fs::canonicalize(SCRIPT).unwrap();
    let root = root.parent().unwrap().parent().unwrap();
    let output = Command::new("./link")
        .arg("url")
        .current_dir(directory.path(""))
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", directory.path("").display()),
        )
        .env("CDPATH", root)
        .env_remove("HOME")
        .output();
    let root = root.display();
    let expected = format!("{root}: run --quiet --bin local-cluster -- url\n");
    assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), expected);
}
