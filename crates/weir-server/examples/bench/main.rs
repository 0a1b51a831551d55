//! What governance costs: the same queries governed, written by hand for the policy's answer, and raw, interleaved in
//! one process. CPU time of the whole process; ratios are medians of the ratios within one repetition. And what one user
//! notices of another.

mod data;
mod flight;
mod grants;
mod measure;
mod neighbours;
mod remote;
mod timing;
mod tpch;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// TPC-H and small queries under a policy set.
    Tpch(Common),
    /// A row filter of 1 to 1,000 grants.
    Grants(Common),
    /// Reads by Flight SQL, against the same in process.
    Flight(Common),
    /// Point lookups of one user beside greedy statements of another.
    Neighbours(Common),
    /// TPC-H in PostgreSQL, behind Weir and behind views.
    Remote(Common),
    /// How long point queries take, by how many rows are hidden from whoever asks.
    Timing(Common),
}

#[derive(clap::Args)]
struct Common {
    /// TPC-H scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    #[arg(long, default_value_t = 15)]
    repetitions: usize,
    /// Where the tables are kept between runs.
    #[arg(long, default_value = "target/bench-data")]
    data: PathBuf,
    /// Write the report here as well.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Only queries whose name holds this.
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let (common, report) = match Args::parse().bench {
        Bench::Tpch(common) => {
            let report = tpch::run(&common).await?;
            (common, report)
        }
        Bench::Grants(common) => {
            let report = grants::run(&common).await?;
            (common, report)
        }
        Bench::Flight(common) => {
            let report = flight::run(&common).await?;
            (common, report)
        }
        Bench::Neighbours(common) => {
            let report = neighbours::run(&common).await?;
            (common, report)
        }
        Bench::Remote(common) => {
            let report = remote::run(&common).await?;
            (common, report)
        }
        Bench::Timing(common) => {
            let report = timing::run(&common).await?;
            (common, report)
        }
    };
    if let Some(path) = &common.report {
        std::fs::write(path, &report)?;
    }
    measure::print(&report);
    Ok(())
}
