//! The gate, cheapest first.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::clients;
use crate::run::{cargo, command, say, tests};
use crate::tidy;

const ADBC: &[&str] = &["adbc-driver-flightsql==1.13.0", "adbc-driver-manager==1.13.0", "pyarrow==26.0.1"];
const JDBC: &str = "org.apache.arrow:flight-sql-jdbc-driver:18.3.0";

type Step = fn() -> Result<()>;

pub(crate) fn run() -> Result<()> {
    let steps: [(&str, Step); 6] = [
        ("install", install),
        ("clients", clients::install),
        ("flight clients", flight_clients),
        ("tidy", tidy::run),
        ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])),
        ("test", || tests(None, &[])),
    ];
    let mut spent = Vec::new();
    for (name, step) in steps {
        say(&format!("== {name}"));
        let started = Instant::now();
        step()?;
        spent.push(format!("{name} {} s", started.elapsed().as_secs()));
    }
    say(&format!("== done: {}", spent.join(", ")));
    Ok(())
}

/// Programs that tests talk to.
fn install() -> Result<()> {
    debian(&[
        ("psql", "postgresql-client"),
        ("mariadbd", "mariadb-server"),
        ("sqlite3", "sqlite3"),
        ("openssl", "openssl"),
        ("cc", "build-essential"),
        ("python3", "python3-venv"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("javac", "openjdk-17-jdk-headless"),
        ("mvn", "maven"),
        ("nginx", "nginx-light"),
    ])?;
    // Its programs are not on the path.
    let servers = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    match servers.map(|version| version.path().join("bin/initdb")).any(|initdb| initdb.exists()) {
        true => Ok(()),
        false => install_packages(&["postgresql"]),
    }
}

/// Programs and the packages that they are in. On Debian they are installed; elsewhere their absence is an error that
/// says so.
fn debian(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| Command::new(program).arg("--version").output().is_err())
        .map(|(_, package)| *package)
        .collect();
    install_packages(&missing)
}

fn install_packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    command("apt-get", &["update", "--quiet"], &[])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(missing);
    command("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// Clients of Arrow Flight SQL from PyPI and Maven Central, which tests look for in `flight` below `WEIR_CLIENTS_DIR`.
fn flight_clients() -> Result<()> {
    let clients = match std::env::var_os("WEIR_CLIENTS_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/weir/clients"),
    };
    let dir = clients.join("flight");
    let (dir_text, marker) = (dir.to_str().context("WEIR_CLIENTS_DIR is not UTF-8")?, dir.join("installed"));
    let wanted = [ADBC, &[JDBC]].concat().join("\n");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    debian(&[("python3", "python3-venv"), ("mvn", "maven"), ("java", "openjdk-17-jdk-headless")])?;
    command("python3", &["-m", "venv", "--clear", &format!("{dir_text}/venv")], &[])?;
    let pip = format!("{dir_text}/venv/bin/pip");
    command(&pip, &[&["install", "--quiet", "--disable-pip-version-check"], ADBC].concat(), &[])?;
    let (artifact, output) = (format!("-Dartifact={JDBC}"), format!("-DoutputDirectory={dir_text}"));
    command(
        "mvn",
        &["--quiet", "--batch-mode", "dependency:copy", &artifact, &output, "-Dmdep.stripVersion=true"],
        &[],
    )?;
    Ok(std::fs::write(marker, wanted)?)
}
