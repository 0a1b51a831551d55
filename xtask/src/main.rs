//! Every chore of the project: `cargo xtask --help`.

mod bench;
mod ci;
mod clients;
mod layers;
mod oracle;
mod run;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Every chore of the project", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What the gate runs, in its order: install what is missing, tidy, clippy, every test.
    Ci,
    /// Installs the clients that tests run, below `WEIR_CLIENTS_DIR` (`~/.cache/weir/clients` when it is not set).
    Clients,
    /// Every test (a release build, so that the engine is compiled once for tests and program).
    Test {
        /// Only tests whose name holds this.
        filter: Option<String>,
    },
    /// Formatting, crate layers, lints opted in, generated documents up to date.
    Tidy,
    /// Compares the crates' dependencies with `layers.toml`.
    Layers {
        /// Prints the table for ARCHITECTURE.md.
        #[arg(long)]
        print: bool,
    },
    /// Runs golden tests and rewrites what they expect. Read the diff before you commit it.
    Golden,
    /// Runs the oracle on worlds that CI has not seen; findings are written below `tests/cases/found`. With a target, asks
    /// another system instead.
    Oracle {
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Until so many worlds with policies, persons and queries were tried, however long it takes.
        #[arg(long, conflicts_with_all = ["minutes", "target"])]
        triples: Option<u64>,
        /// Where what was asked how often is written, as Markdown.
        #[arg(long)]
        report: Option<String>,
        /// A system that speaks the protocol of PostgreSQL: `postgres://user@host:port/database`.
        #[arg(long, conflicts_with = "minutes")]
        target: Option<String>,
        /// In whose way the target's policies are put in force.
        #[arg(long, default_value = "postgres", requires = "target")]
        adapter: String,
        /// Worlds of which the target is asked.
        #[arg(long, default_value = "0..200", requires = "target")]
        seeds: String,
    },
    /// Measures and writes the reports of `bench/`.
    Bench(bench::Bench),
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Ci => ci::run(),
        Verb::Clients => clients::install(),
        Verb::Test { filter } => run::tests(filter.as_deref(), &[]),
        Verb::Tidy => tidy::run(),
        Verb::Layers { print: true } => layers::print(),
        Verb::Layers { print: false } => layers::check(),
        Verb::Golden => run::tests(None, &[("WEIR_ACCEPT", "1"), ("UPDATE_EXPECT", "1")]),
        Verb::Oracle { target: Some(target), adapter, seeds, report, minutes: _, triples: _ } => {
            oracle::elsewhere(&target, &adapter, &seeds, report.as_deref())
        }
        Verb::Oracle { target: None, minutes, triples, report, adapter: _, seeds: _ } => {
            oracle::here(minutes, triples, report.as_deref())
        }
        Verb::Bench(bench) => bench.run(),
    }
}
