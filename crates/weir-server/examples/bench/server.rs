//! The program itself, serving TPC-H tables from a data directory of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::data::TABLES;

pub(crate) const PASSWORD: &str = "bench";
/// Owns all tables, so that no policy of the benchmarks restricts him. He is in the group that a policy asks for.
pub(crate) const OWNER: &str = "clear";
pub(crate) const READER: &str = "restricted";

pub(crate) struct Server {
    dir: TempDir,
    child: Option<Child>,
    pub(crate) sql: SocketAddr,
    pub(crate) flight: SocketAddr,
}

impl Server {
    /// `attributes` are those of [`READER`]; the policies are in one text, apart by empty lines.
    pub(crate) fn start(
        folder: &Path,
        attributes: &[(&str, &[&str])],
        policies: &str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { dir: tempfile::tempdir()?, child: None, sql: none, flight: none };
        std::fs::write(server.dir.path().join("password"), PASSWORD)?;
        server.weir(&["user", "add", OWNER, "--group", "auditors", "--password-file", "password"])?;
        let values: Vec<String> = attributes
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| format!("{key}={value}")))
            .collect();
        let mut add = vec!["user", "add", READER, "--password-file", "password"];
        add.extend(values.iter().flat_map(|value| ["--attribute", value]));
        server.weir(&add)?;
        for table in TABLES {
            let path = folder.join(format!("{table}.parquet"));
            let path = path.to_str().context("a path that is no text")?;
            // What is in them, no policy asks.
            server.weir(&["source", "add", &format!("tpch.{table}"), path, "--owner", OWNER, "--no-detect"])?;
        }
        let policies = policies.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
        for (number, text) in policies.enumerate() {
            server.weir(&["policy", "add", "--key", &format!("p{number}"), "--text", text])?;
        }
        server.serve(environment)?;
        Ok(server)
    }

    fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program()?);
        command.args(args).current_dir(self.dir.path()).env_clear().env("WEIR_DATA_DIR", "data").stdin(Stdio::null());
        Ok(command)
    }

    /// Runs the command on the data directory; gives what it printed.
    pub(crate) fn weir(&self, args: &[&str]) -> anyhow::Result<String> {
        let ran = self.command(args)?.output()?;
        ensure!(ran.status.success(), "weir {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        Ok(String::from_utf8(ran.stdout)?)
    }

    fn serve(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = self.command(&["serve"])?;
        command.env("WEIR_SQL_ADDRESS", "127.0.0.1:0").env("WEIR_FLIGHT_ADDRESS", "127.0.0.1:0");
        command.env("WEIR_LOG", "error").envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("no standard error")?);
        self.child = Some(child);
        let mut address = |door: &str| -> anyhow::Result<SocketAddr> {
            loop {
                let mut line = String::new();
                ensure!(said.read_line(&mut line)? > 0, "the server ended before it served");
                if let Some((_, rest)) = line.split_once(door) {
                    return Ok(rest.split(',').next().unwrap_or_default().trim().parse()?);
                }
            }
        };
        self.sql = address("(PostgreSQL wire protocol): ")?;
        self.flight = address("(Arrow Flight SQL): ")?;
        // Somebody has to read, or the server waits for a place to write.
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok).filter(|line| !line.starts_with("  ") && !line.is_empty()) {
                crate::measure::note(&format!("server: {line}"));
            }
        });
        Ok(())
    }

    fn proc(&self, file: &str) -> anyhow::Result<PathBuf> {
        let child = self.child.as_ref().context("the server does not run")?;
        Ok(PathBuf::from(format!("/proc/{}/{file}", child.id())))
    }

    /// Seconds of processors that the server has taken, all threads, ended ones too (`proc_pid_stat(5)`: utime, stime; in
    /// hundredths on Linux).
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(self.proc("stat")?)?;
        let fields = stat.rsplit_once(')').context("no process")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(ticks as f64 / 100.0)
    }

    /// Bytes that the server holds now (`VmRSS`) or held at most since [`Self::forget_peak`] (`VmHWM`).
    pub(crate) fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.proc("clear_refs")?, "5")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Beside the folder of this program; `cargo xtask bench` builds it first.
fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.parent().and_then(Path::parent).context("this program is nowhere")?.join("weir");
    ensure!(program.exists(), "{} is not built: cargo build --release --bin weir", program.display());
    Ok(program)
}
