//! The `weir` command: settings, wiring and subcommands.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

mod cli;
mod commands;
mod context;
mod demo;
mod settings;
mod table;
mod terminal;

use cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything has been said; the process ends with this exit status.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub(crate) struct ExitStatus(u8);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = cli.global.color.resolve(std::io::stderr().is_terminal());
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => match e.downcast_ref() {
            Some(ExitStatus(status)) => ExitCode::from(*status),
            None => {
                // Nothing is left to be told if this cannot be written.
                let _ = writeln!(std::io::stderr(), "{}", terminal::error(&e, color));
                if e.is::<commands::import::Incomplete>() { ExitCode::from(3) } else { ExitCode::FAILURE }
            }
        },
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(commands::run(cli));
    // A prompt may still wait for a line that nobody needs.
    runtime.shutdown_background();
    result
}

/// Whoever read the output, such as `head`, has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
