//! Runs the built command in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A working directory, with the data directory `data` in it once something makes that.
pub(crate) struct Weir {
    dir: TempDir,
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Weir {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file into the working directory.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The command, with nothing of this process's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(args).current_dir(self.path()).env_clear().env("WEIR_DATA_DIR", "data").stdin(Stdio::null());
        // Servers of other tests run beside.
        command.env("WEIR_FLIGHT_ADDRESS", "127.0.0.1:0");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs what must succeed; gives what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "weir {args:?}: {ran:?}");
        ran.out
    }

    /// Runs what must fail as an error, not as a wrong use; gives what was said about it.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(1), "weir {args:?}: {ran:?}");
        assert_eq!(ran.out, "", "weir {args:?}");
        ran.err
    }

    /// Starts a server on a free port.
    pub(crate) fn start(&self, args: &[&str]) -> Server {
        let mut command = self.command(args);
        command.env("WEIR_SQL_ADDRESS", "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let mut address = |door: &str| loop {
            let mut line = String::new();
            assert!(err.read_line(&mut line).unwrap() > 0, "the server ended: {said}");
            said.push_str(&line);
            if let Some((_, rest)) = line.split_once(door) {
                break rest.split(',').next().unwrap().parse().unwrap();
            }
        };
        let (address, flight) = (address("(PostgreSQL wire protocol): "), address("(Arrow Flight SQL): "));
        // Somebody has to read, or the server waits for a place to write.
        let log = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = err.read_to_string(&mut rest);
            rest
        });
        Server { child, address, flight, log: Some(log) }
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Of the Flight SQL door.
    pub(crate) flight: SocketAddr,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Server {
    /// Runs statements as a user of the demonstration.
    pub(crate) fn sql(&self, weir: &Weir, user: &str, sql: &str) -> Ran {
        let port = self.address.port().to_string();
        let mut command = weir.command(&["sql", "--port", &port, "--user", user, "--format", "csv", "-c", sql]);
        Ran::of(command.env("WEIR_PASSWORD", "demo").output().unwrap())
    }

    /// The most memory that the server has held so far, in bytes (`VmHWM` of Linux).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end: exit code, standard output and log.
    pub(crate) fn wait(mut self) -> (Option<i32>, String, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), out, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
