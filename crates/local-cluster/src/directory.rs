//! The directory of a cluster. It is removed, and the servers in it are stopped, when the program
//! that created it ends.

use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::User;

use crate::run::{command, run};

/// The shell script that removes the directory even if the program is killed.
const WATCHDOG: &str = include_str!("watchdog.sh");

/// A directory that only the user of its servers can enter. Drop it after the servers.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// The current user if it is `None`.
    user: Option<User>,
    /// The leader of the servers' process group.
    watchdog: Child,
}

impl Directory {
    /// Creates a directory in `$TMPDIR`, else in `/tmp`: `$TMPDIR` may be missing, or closed to the
    /// user that the servers run as. `signal` ends a server at once.
    pub(crate) fn create(user: Option<User>, signal: &str) -> Result<Directory> {
        Directory::create_in(&env::temp_dir(), user.clone(), signal)
            .or_else(|_| Directory::create_in(Path::new("/tmp"), user, signal))
            .context("cannot use /tmp: set TMPDIR to a directory that you can write")
    }

    fn create_in(parent: &Path, user: Option<User>, signal: &str) -> Result<Directory> {
        let directory = tempfile::Builder::new()
            .prefix("crdb-local-cluster-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        // Not as that user, which perhaps cannot write the parent, and so not remove the directory.
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "sh", signal])
            .arg(directory.path())
            // Ctrl-C sends its signal to a process group: not to this one.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start /bin/sh")?;
        let directory = Directory {
            path: directory.keep(),
            user,
            watchdog,
        };
        directory.chown()?;
        // This fails if the user cannot enter the directory.
        run(&mut directory.command("true"))?;
        Ok(directory)
    }

    /// Returns a command that runs in this directory, as the user of the servers. With relative
    /// paths, no character in the path of the directory has a special meaning.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = command(program, self.user.as_ref());
        command.current_dir(&self.path);
        command
    }

    /// Returns a command for a server, which ends when this program is killed.
    pub(crate) fn server(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.command(program);
        // The number of a child that has not been waited for belongs to no other process.
        command.process_group(self.watchdog.id().cast_signed());
        command
    }

    /// Gives all files to the user of the servers.
    pub(crate) fn chown(&self) -> Result<()> {
        if let Some(user) = &self.user {
            let owner = format!("{}:{}", user.uid, user.gid);
            run(Command::new("chown").args(["-R", &owner]).arg(&self.path))?;
        }
        Ok(())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Waiting closes the watchdog's standard input.
        let _ = self.watchdog.wait();
    }
}
