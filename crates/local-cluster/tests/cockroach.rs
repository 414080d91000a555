//! CockroachDB of any version: a script with the flags of all versions takes the place of `cockroach`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Like version 21.2, it has no setting for the iterations of SCRAM. Like all versions, it reads
/// variables such as `COCKROACH_INSECURE`, and it rejects unknown flags.
const COCKROACH: &str = r#"#!/bin/sh
fail() { echo "ERROR: $1" >&2; exit 1; }
[ -z "$COCKROACH_INSECURE" ] || fail "--insecure and --certs-dir"
case "$*" in
    start-single-node*) flags='certs-dir|store|listen-addr|http-addr' ;;
    sql*'SET CLUSTER SETTING '*) fail "unknown cluster setting 'server.user_login'" ;;
    sql*) flags='certs-dir|host|format' ;;
esac
! printf '%s\n' "$@" | grep -e ^-- | grep -qvE "^--($flags)=" || fail "unknown flag"
[ "$1" = sql ] || exec sleep 600
"#;

#[test]
fn cockroachdb_of_any_version_starts_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("cockroach"), COCKROACH).unwrap();
    fs::set_permissions(
        directory.path().join("cockroach"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let started = run(directory.path(), "start");
    let url = run(directory.path(), "url");
    let stopped = run(directory.path(), "stop");
    assert!(started.status.success(), "{started:?}");
    assert!(url.stdout.starts_with(b"postgresql://demo:"), "{url:?}");
    assert!(
        stopped.stdout.ends_with(b"Stopped the local cluster.\n"),
        "{stopped:?}"
    );
}

fn run(directory: &Path, command: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_local-cluster"))
        .arg(command)
        .current_dir(directory)
        .env("COCKROACH", "./cockroach")
        .env("COCKROACH_INSECURE", "true")
        .output()
        .unwrap()
}
