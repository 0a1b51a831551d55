//! The gate, cheapest first.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::run::{cargo, command, say, tests};
use crate::tidy;

type Step = fn() -> Result<()>;

pub(crate) fn run() -> Result<()> {
    let steps: [(&str, Step); 4] = [
        ("install", install),
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
    let mut missing: Vec<&str> = [("psql", "postgresql-client"), ("openssl", "openssl"), ("cc", "build-essential")]
        .into_iter()
        .filter(|(program, _)| Command::new(program).arg("--version").output().is_err())
        .map(|(_, package)| package)
        .collect();
    // Its programs are not on the path.
    let servers = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    if !servers.map(|version| version.path().join("bin/initdb")).any(|initdb| initdb.exists()) {
        missing.push("postgresql");
    }
    if missing.is_empty() {
        return Ok(());
    }
    command("apt-get", &["update", "--quiet"], &[])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(missing);
    command("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive")])
}
