//! What governance costs: the same queries governed, written by hand for the policy's answer, and raw, interleaved in
//! one process. CPU time of the whole process; ratios are medians of the ratios within one repetition. And what one user
//! notices of another.

mod client;
mod data;
mod flight;
mod grants;
mod load;
mod measure;
mod neighbours;
mod peers;
mod remote;
mod server;
mod timing;
mod tpch;
mod wire;

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
    /// Reads by the PostgreSQL wire protocol, against the same in process.
    Wire(Common),
    /// Reads by Flight SQL, against the same in process.
    Flight(Common),
    /// Many connections with statements of every kind, for minutes.
    Load {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        #[arg(long, default_value_t = 200)]
        connections: usize,
    },
    /// The same policies in DuckDB, PostgreSQL and views of DataFusion.
    Peers {
        #[command(flatten)]
        common: Common,
        /// A Python that has `duckdb` and `pyarrow`.
        #[arg(long, default_value = "python3")]
        python: PathBuf,
    },
    /// Point lookups of one user beside greedy statements of another.
    Neighbours(Common),
    /// TPC-H in PostgreSQL, behind Weir and behind views.
    Remote(Common),
    /// How long point queries take, by how many rows are hidden from whoever asks.
    Timing(Common),
}

#[derive(Clone, clap::Args)]
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
        Bench::Tpch(common) => (common.clone(), tpch::run(&common).await?),
        Bench::Grants(common) => (common.clone(), grants::run(&common).await?),
        Bench::Wire(common) => (common.clone(), wire::run(&common).await?),
        Bench::Flight(common) => (common.clone(), flight::run(&common).await?),
        Bench::Load { common, minutes, connections } => {
            (common.clone(), load::run(&common, minutes, connections).await?)
        }
        Bench::Peers { common, python } => (common.clone(), peers::run(&common, &python).await?),
        Bench::Neighbours(common) => (common.clone(), neighbours::run(&common).await?),
        Bench::Remote(common) => (common.clone(), remote::run(&common).await?),
        Bench::Timing(common) => (common.clone(), timing::run(&common).await?),
    };
    if let Some(path) = &common.report {
        std::fs::write(path, &report)?;
    }
    measure::print(&report);
    Ok(())
}
