use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use weir_guard::{Caller, Door, Guard, SystemClock, Unmasking};
use weir_model::{Actor, ColumnName, PrincipalId, SourceName};

use crate::context::{Context, find_source, find_user};
use crate::table;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  weir unmask shop.people passport AAAAAd0VZk1g… --by anna --reason \"case 7\"

The user needs permission `unmask` and must be let in by the data source's policies. Every call is on record with its reason.
Values come back that were masked with reversibility, or with format preserving masking; others are told to be none.")]
pub(crate) struct Unmask {
    /// The data source: `schema.table`
    source: SourceName,
    /// The column from which the values are
    column: ColumnName,
    /// The values as they were seen
    #[arg(required = true)]
    values: Vec<String>,
    /// Who wants them back
    #[arg(long, value_name = "USER")]
    by: PrincipalId,
    /// What for
    #[arg(long)]
    reason: String,
}

/// One original for each line, in the order of the values.
pub(crate) async fn run(context: &Context, unmask: Unmask) -> anyhow::Result<()> {
    let Unmask { source, column, values, by, reason } = unmask;
    let store = context.store().await?;
    let facts = store.facts().await?;
    find_user(&facts, &by)?;
    find_source(&facts, &source)?;
    let shared = Arc::new(store.clone());
    let guard = Guard::new(shared.clone(), shared.clone(), shared, Arc::new(SystemClock));
    let caller = Caller { actor: Actor::itself(by), project: None, door: Door::Local, client_hint: None };
    let what = Unmasking { source, column, values, reason };
    let originals = guard.unmask(caller, &what).await;
    store.close().await?;
    let originals = match originals {
        Ok(originals) => originals,
        Err(refusal) => bail!("{}", refusal.outside().text()),
    };
    let mut out = std::io::stdout().lock();
    let mut missing = 0;
    for original in &originals {
        match original {
            Some(original) => writeln!(out, "{}", table::printable(original))?,
            None => {
                missing += 1;
                writeln!(out)?;
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of {} values are no masked values of this column", originals.len());
    }
    Ok(())
}
