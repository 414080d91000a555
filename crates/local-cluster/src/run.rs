//! Runs other programs.

use std::env;
use std::io::{self, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

/// Returns the user to run PostgreSQL as: `postgres` if the current user is root, because PostgreSQL
/// refuses to run as root, else the current user, which is `None`.
pub(crate) fn postgres_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres")?.map(Some);
    user.context("PostgreSQL refuses to run as root, and there is no user postgres to run it as")
}

/// Returns a command for a program, as this user if there is one.
pub(crate) fn command(program: impl AsRef<Path>, user: Option<&User>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    // These variables would win over the defaults of the servers and their clients.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("COCKROACH_") {
            command.env_remove(name);
        }
    }
    command
}

/// Returns a standard input with a short text. All users of the machine can read the arguments of a
/// program; its input is private.
pub(crate) fn input(text: &str) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    Ok(reader)
}

/// Runs a program, waits until it ends, and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", message.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
