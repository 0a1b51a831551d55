//! Long runs of the oracle, on Weir and on other systems.

use anyhow::Result;

use crate::run::{cargo, root, tests};

/// More queries of each world than in the gate: making worlds takes its time too.
const TIMES: &str = "4";

/// The test, for so long or for so many triples.
pub(crate) fn here(minutes: u64, triples: Option<u64>, report: Option<&str>) -> Result<()> {
    let (minutes, triples) = (minutes.to_string(), triples.map(|triples| triples.to_string()));
    let until = match &triples {
        Some(triples) => ("WEIR_ORACLE_TRIPLES", triples.as_str()),
        None => ("WEIR_ORACLE_MINUTES", minutes.as_str()),
    };
    let mut environment = vec![until, ("WEIR_ORACLE_TIMES", TIMES), ("WEIR_ORACLE_SAVE", "1")];
    // Tests run in the folders of their crates.
    let report = report.map(|path| root().join(path).display().to_string());
    environment.extend(report.as_deref().map(|path| ("WEIR_ORACLE_REPORT", path)));
    tests(Some("oracle"), &environment)
}

/// The program that asks another system.
pub(crate) fn elsewhere(target: &str, adapter: &str, seeds: &str, report: Option<&str>) -> Result<()> {
    let mut args = vec!["run", "--release", "--package", "weir-testkit", "--example", "oracle_target", "--"];
    args.extend(["--target", target, "--adapter", adapter, "--seeds", seeds]);
    args.extend(report.into_iter().flat_map(|path| ["--report", path]));
    cargo(&args, &[])
}
