//! A server process that ends when we do.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

/// Starts the server, prints its process id, and stops it by that id when standard input ends: when we
/// close it, and also when we are killed. Without the word `keep` the directory goes, too.
const SUPERVISOR: &str = r#"
signal=$1 directory=$2
shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
echo $server
(
    word=
    read -r word <&3
    kill -s "$signal" $server 2>/dev/null
    tries=0
    while kill -0 $server 2>/dev/null; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries = 200 ] && kill -s KILL $server 2>/dev/null
    done
    [ "$word" = keep ] || rm -rf "$directory"
) >/dev/null 2>&1 &
exec >/dev/null
wait $server
"#;

/// Whom to run the server as: somebody else than root for PostgreSQL, which refuses root.
#[derive(Clone, Copy)]
pub(crate) struct Identity(Option<(u32, u32)>);

impl Identity {
    pub(crate) const OURSELVES: Identity = Identity(None);

    /// Ourselves, or the user `postgres` if we are root.
    pub(crate) fn for_postgres() -> Result<Identity> {
        if !Uid::effective().is_root() {
            return Ok(Identity::OURSELVES);
        }
        let user = User::from_name("postgres")?;
        let user = user.context(
            "PostgreSQL refuses to run as root, and there is no user postgres to run it as",
        )?;
        Ok(Identity(Some((user.uid.as_raw(), user.gid.as_raw()))))
    }

    pub(crate) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Identity(Some((uid, gid))) = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives this file or directory, with all that is in it, to the one who runs the server.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        let Identity(Some((uid, gid))) = self else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// A running server.
pub(crate) struct Supervised {
    supervisor: Child,
    input: Option<ChildStdin>,
    directory: PathBuf,
    keeps_files: bool,
    /// The server's own process id.
    pub(crate) pid: i32,
}

impl Supervised {
    /// Starts `command`. `signal` is what asks this server to stop.
    pub(crate) fn start(
        identity: Identity,
        signal: &str,
        directory: &Path,
        command: &[String],
    ) -> Result<Supervised> {
        let mut shell = identity.command("/bin/sh");
        shell
            .arg("-c")
            .arg(SUPERVISOR)
            .arg("sh")
            .arg(signal)
            .arg(directory)
            .args(command);
        // A group of its own: Ctrl-C is for us, and we stop the server in order.
        shell
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut supervisor = shell.spawn().context("cannot start /bin/sh")?;
        let mut first_line = String::new();
        BufReader::new(supervisor.stdout.take().context("no output")?)
            .read_line(&mut first_line)?;
        let pid = first_line
            .trim()
            .parse()
            .context("the server did not start")?;
        let input = supervisor.stdin.take();
        let directory = directory.to_owned();
        Ok(Supervised {
            supervisor,
            input,
            directory,
            keeps_files: false,
            pid,
        })
    }

    /// Waits until `ready` says so, at most a minute.
    pub(crate) fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready() {
            if self.supervisor.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(10)..].join("\n");
                bail!("the server did not come up; the end of its log:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops the server and waits for its end; its files stay.
    pub(crate) fn stop_and_keep_files(&mut self) -> Result<()> {
        if let Some(mut input) = self.input.take() {
            input.write_all(b"keep\n")?;
        }
        self.supervisor.wait()?;
        self.keeps_files = true;
        Ok(())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.supervisor.wait();
        // The directory goes last.
        let deadline = Instant::now() + Duration::from_secs(15);
        while !self.keeps_files && self.directory.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Creates the log beforehand, readable by us whoever runs the server.
pub(crate) fn create_log(directory: &Path) -> Result<()> {
    File::create(directory.join("log"))?;
    Ok(())
}
