//! The import table as data: who may use whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run::root;

#[derive(Deserialize)]
struct Table {
    crates: BTreeMap<String, Layer>,
}

#[derive(Deserialize)]
struct Layer {
    /// Our crates that it may depend on.
    uses: BTreeSet<String>,
    /// For readers: the third-party crates it is about.
    about: String,
    /// Packages that must not be among its dependencies, direct or not.
    never: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}

#[derive(Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Deserialize)]
struct DepKind {
    /// Absent for a normal dependency.
    kind: Option<String>,
}

fn table() -> Result<Table> {
    let path = root().join("xtask/layers.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

fn metadata() -> Result<Metadata> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Prints the table for ARCHITECTURE.md.
pub(crate) fn print() -> Result<()> {
    crate::run::say(&rendered()?);
    Ok(())
}

/// The table as Markdown.
pub(crate) fn rendered() -> Result<String> {
    let mut text = String::from("| crate | may use | is about | never |\n| --- | --- | --- | --- |\n");
    for (name, layer) in table()?.crates {
        let list = |names: &BTreeSet<String>| {
            let short: Vec<&str> = names.iter().map(|n| n.trim_start_matches("weir-")).collect();
            if short.is_empty() { "—".to_owned() } else { short.join(", ") }
        };
        writeln!(text, "| `{name}` | {} | {} | {} |", list(&layer.uses), layer.about, list(&layer.never))?;
    }
    Ok(text)
}

/// Fails with every edge that the table does not allow, and with every line of the table that no crate stands behind.
pub(crate) fn check() -> Result<()> {
    let Table { crates } = table()?;
    let metadata = metadata()?;
    let names: BTreeMap<&str, &str> = metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let edges: BTreeMap<&str, Vec<&str>> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            (node.id.as_str(), normal.map(|dep| dep.pkg.as_str()).collect())
        })
        .collect();
    let mut wrong = Vec::new();
    let ours: BTreeMap<&str, &str> = metadata
        .workspace_members
        .iter()
        .filter_map(|id| names.get(id.as_str()).map(|name| (*name, id.as_str())))
        .collect();
    for name in crates.keys().filter(|name| !ours.contains_key(name.as_str())) {
        wrong.push(format!("layers.toml names `{name}`, which is not in the workspace"));
    }
    for (name, id) in ours {
        let Some(layer) = crates.get(name) else {
            wrong.push(format!("`{name}` is not in layers.toml"));
            continue;
        };
        for dep in edges.get(id).into_iter().flatten().filter_map(|id| names.get(id)) {
            if crates.contains_key(*dep) && !layer.uses.contains(*dep) {
                wrong.push(format!("`{name}` uses `{dep}`"));
            }
        }
        for dep in reachable(id, &edges).iter().filter_map(|id| names.get(id)) {
            if layer.never.contains(*dep) {
                wrong.push(format!("`{name}` reaches `{dep}`, which it never may"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("crate layers:\n  {}", wrong.join("\n  ")) }
}

fn reachable<'a>(from: &'a str, edges: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for dep in edges.get(id).into_iter().flatten() {
            if seen.insert(*dep) {
                open.push(dep);
            }
        }
    }
    seen
}
