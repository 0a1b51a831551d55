use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use weir_model::PolicyKey;
use weir_policy::language::Spelling;
use weir_policy::{StoredPolicy, ast};

use super::{To, print};
use crate::context::Context;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy export policies/
  weir policy export policies/ --to english

The files are numbered by the age of the policies, which decides between masks that are equally close. Applied to the \
data directory that they come from, they change nothing.")]
pub(super) struct Export {
    /// A folder that does not exist yet, or is empty
    folder: PathBuf,
    /// The spelling
    #[arg(long, value_enum, default_value = "yaml")]
    to: To,
}

pub(super) async fn export(context: &Context, Export { folder, to }: Export) -> anyhow::Result<()> {
    let facts = context.store().await?.facts().await?;
    let mut policies: Vec<&StoredPolicy> = facts.policies.iter().collect();
    policies.sort_by_key(|stored| stored.id);
    if policies.is_empty() {
        bail!("there are no policies");
    }
    if folder.exists() && fs::read_dir(&folder).with_context(|| unwritable(&folder))?.next().is_some() {
        bail!("folder {} is not empty", folder.display());
    }
    // Written beside, and put in its place when it is whole.
    let mut beside = folder.components().as_path().as_os_str().to_owned();
    beside.push(".partial");
    let beside = PathBuf::from(beside);
    fs::create_dir_all(&beside).with_context(|| unwritable(&beside))?;
    let written = write_all(&beside, &policies, to);
    let done = written.and_then(|()| fs::rename(&beside, &folder).with_context(|| unwritable(&folder)));
    if let Err(e) = done {
        // What went wrong first is what matters.
        let _ = fs::remove_dir_all(&beside);
        return Err(e);
    }
    let noun = if policies.len() == 1 { "policy" } else { "policies" };
    Ok(writeln!(std::io::stdout(), "wrote {} {noun} to {}", policies.len(), folder.display())?)
}

fn unwritable(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn write_all(folder: &Path, policies: &[&StoredPolicy], to: To) -> anyhow::Result<()> {
    let (ending, spelling) = match to {
        To::English => ("policy", Spelling::English),
        To::Yaml => ("yaml", Spelling::Yaml),
    };
    let digits = policies.len().to_string().len();
    for (number, stored) in (1_usize..).zip(policies) {
        let name = format!("{number:0digits$}-{}.{ending}", file_name(&stored.policy.key));
        let one: [&ast::Policy; 1] = [&stored.policy];
        let path = folder.join(name);
        fs::write(&path, print(&one, spelling) + "\n").with_context(|| unwritable(&path))?;
    }
    Ok(())
}

/// The key with what has no place in a file name left out. The number before it tells those apart that become alike.
fn file_name(key: &PolicyKey) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    key.as_str().chars().take(80).map(kept).collect()
}
