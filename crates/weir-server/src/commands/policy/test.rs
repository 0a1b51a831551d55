use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use weir_author::Text;
use weir_author::case::Suite;
use weir_author::world::World;
use weir_guard::SystemClock;
use weir_store::Store;

use super::plan::report;
use crate::context::Context;
use crate::table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy test examples/bank
  weir policy test policies/ cases/ --world weir-data     against what is stored

Files that end in .case say what must be decided for whom, those that end in .world who and what there is. Nothing is \
read or changed besides them; docs/policy-tests.md describes both.

Exit status: 0 when every answer is as expected, 1 when not.")]
pub(super) struct Test {
    /// Case files, worlds and policies, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The world of all cases, whichever they name: a file, or a data directory, whose policies hold when the paths have
    /// none
    #[arg(long, value_name = "PATH")]
    world: Option<PathBuf>,
}

pub(super) async fn test(context: &Context, Test { paths, world }: Test) -> anyhow::Result<()> {
    let suite = Suite::find(&paths)?;
    if let Some(set) = &suite.policies {
        report(context, set)?;
        match set.wrong() {
            0 => {}
            wrong => bail!("nothing was tested: {wrong} of {} texts cannot be read", set.texts.len()),
        }
    }
    let instead = match &world {
        Some(path) => Some(given(path).await?),
        None => None,
    };
    let stored = instead.as_ref().map(|world| world.facts.policies.as_slice()).filter(|policies| !policies.is_empty());
    let summary = suite.run(instead.as_ref(), stored)?;
    writeln!(std::io::stdout(), "{}", table::printable(&summary.to_string()))?;
    match summary.failures() {
        0 => Ok(()),
        failed => bail!("{failed} of {} answers are not as expected", summary.passed + failed),
    }
}

/// The world in a file or in a data directory.
async fn given(path: &Path) -> anyhow::Result<World> {
    if !path.is_dir() {
        let Text { name, text } = Text::read(path)?;
        return World::parse(&text).map_err(|why| anyhow::anyhow!("{name}: {why}"));
    }
    if !Store::exists(path) {
        bail!("`{}` is neither a world nor a data directory of Weir", path.display());
    }
    let store = Store::open(path, Arc::new(SystemClock))
        .await
        .with_context(|| format!("cannot use data directory `{}`", path.display()))?;
    Ok(store.facts().await?.into())
}
