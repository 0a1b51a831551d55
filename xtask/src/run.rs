//! Running other programs, loudly.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Runs a program in the root with its output on the terminal; fails when it does.
pub(crate) fn command(program: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    say(&format!("$ {program} {}", args.join(" ")));
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    for (key, value) in environment {
        command.env(key, value);
    }
    let status = command.status().with_context(|| format!("cannot start `{program}`"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

pub(crate) fn cargo(args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    command(env!("CARGO"), args, environment)
}

pub(crate) fn tests(filter: Option<&str>, environment: &[(&str, &str)]) -> Result<()> {
    let mut args = vec!["test", "--release", "--workspace", "--no-fail-fast"];
    args.extend(filter);
    cargo(&args, environment)
}

#[expect(clippy::print_stderr, reason = "a program for a terminal")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
