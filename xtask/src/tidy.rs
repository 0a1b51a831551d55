//! Cheap checks of the tree itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::layers;
use crate::run::{cargo, root};

pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    layers::check()?;
    lints_opted_in()?;
    layers_documented()?;
    no_unfinished_work()
}

/// Every crate takes the workspace's lints.
fn lints_opted_in() -> Result<()> {
    let mut manifests = vec![root().join("xtask/Cargo.toml")];
    for entry in std::fs::read_dir(root().join("crates"))? {
        manifests.push(entry?.path().join("Cargo.toml"));
    }
    for manifest in manifests {
        let text = std::fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let table: toml::Table = text.parse().with_context(|| format!("{} is malformed", manifest.display()))?;
        let opted_in = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if opted_in != Some(true) {
            bail!("{} does not say `lints.workspace = true`", manifest.display());
        }
    }
    Ok(())
}

/// The table in ARCHITECTURE.md is the one that is checked.
fn layers_documented() -> Result<()> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    if !text.contains(&layers::rendered()?) {
        bail!("the crate table in ARCHITECTURE.md is not that of layers.toml: `cargo xtask layers --print` prints it");
    }
    Ok(())
}

/// No stub and no ignored test.
fn no_unfinished_work() -> Result<()> {
    let marks = ["todo!(", "unimplemented!(", "#[ignore", "FIXME"].map(|mark| mark.to_owned());
    let mut found = Vec::new();
    for folder in ["crates", "xtask"] {
        for file in rust_files(&root().join(folder))? {
            if file.ends_with("xtask/src/tidy.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file)?;
            for (number, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark.as_str())) {
                    found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                }
            }
        }
    }
    if found.is_empty() { Ok(()) } else { bail!("unfinished work:\n  {}", found.join("\n  ")) }
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
