use std::io::Write;

use anyhow::Context as _;
use clap::Args;

use crate::commands::serve::{Doors, listen, serve};
use crate::context::Context;
use crate::demo::{data, world};
use crate::settings::Flag;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir demo
  weir demo --scale 1 --data-dir /tmp/weir-demo --sql-address 127.0.0.1:15433

The first start makes a table of 200,000 made-up purchases and the eight TPC-H tables as Parquet files, seven users and \
ten policies. Later starts use what is there, with all changes that were made since.")]
pub(crate) struct Demo {
    /// Size of the TPC-H tables; 1 is about 6 million order lines [default: 0.1]
    #[arg(long, value_parser = scale)]
    scale: Option<f64>,
    /// Make everything, but do not serve it
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    doors: Doors,
}

impl Demo {
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.doors.flags()
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("must be a number from 0.001 to 1000".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, demo: Demo) -> anyhow::Result<()> {
    let listeners = if demo.no_serve { None } else { Some(listen(&context.settings).await?) };
    // First, so that a directory of something else, or of a newer version, is left as it is.
    let store = context.make_store().await?;
    let folder = std::path::absolute(context.data_dir())?.join("data");
    let make = {
        let folder = folder.clone();
        move || data::make(&folder, demo.scale)
    };
    tokio::task::spawn_blocking(make).await.context("making the data failed")??;
    world::make(&store, &data::files(&folder)?).await?;
    let Some(listeners) = listeners else {
        writeln!(std::io::stdout(), "the demonstration is ready in {}", context.data_dir().display())?;
        return Ok(store.close().await?);
    };
    let weir = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
    serve(&context.settings, store, listeners, |addresses| world::guide(&weir, addresses, context.data_dir())).await
}
