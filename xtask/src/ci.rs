//! The gate, cheapest first.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::clients;
use crate::run::{cargo, command, say, tests};
use crate::tidy;

type Step = fn() -> Result<()>;

pub(crate) fn run() -> Result<()> {
    let steps: [(&str, Step); 5] = [
        ("install", install),
        ("clients", clients::install),
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

/// Programs that tests talk to. On Debian they are installed; elsewhere their absence is an error that says so.
fn install() -> Result<()> {
    const PROGRAMS: [(&str, &str); 8] = [
        ("psql", "postgresql-client"),
        ("openssl", "openssl"),
        ("cc", "build-essential"),
        ("python3", "python3-venv"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("javac", "openjdk-17-jdk-headless"),
        ("mvn", "maven"),
    ];
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| Command::new(program).arg("--version").output().is_err())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    command("apt-get", &["update", "--quiet"], &[])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(missing);
    command("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive")])
}
