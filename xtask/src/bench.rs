//! Measurements. The programs are examples of the crates they measure; their reports land in `bench/`.

use anyhow::{Result, bail};

use crate::run::cargo;

pub(crate) fn run(only: Option<&str>, scale: f64, repetitions: usize) -> Result<()> {
    let (scale, repetitions) = (scale.to_string(), repetitions.to_string());
    let all = ["decision", "scale", "tpch", "grants", "flight", "neighbours", "remote", "timing"];
    match only {
        Some(name) if !all.contains(&name) => bail!("there is no benchmark `{name}`: {}", all.join(", ")),
        Some(_) | None => {}
    }
    let wanted = |name| only.is_none_or(|only| only == name);
    let example = |package, name, args: &[&str]| {
        let mut all = vec!["run", "--release", "--package", package, "--example", name, "--"];
        all.extend(args);
        cargo(&all, &[])
    };
    if wanted("decision") {
        example("weir-policy", "decide_latency", &["--report", "bench/decision.md"])?;
    }
    if wanted("scale") {
        example("weir-policy", "scale", &["--report", "bench/scale.md"])?;
        // Adds to the report.
        example("weir-store", "store_scale", &["--report", "bench/scale.md"])?;
    }
    if wanted("tpch") {
        let args = ["tpch", "--scale", &scale, "--repetitions", &repetitions, "--report", "bench/tpch.md"];
        example("weir-server", "bench", &args)?;
    }
    if wanted("grants") {
        let args = ["grants", "--scale", &scale, "--repetitions", &repetitions, "--report", "bench/grants.md"];
        example("weir-server", "bench", &args)?;
    }
    if wanted("flight") {
        let args = ["flight", "--scale", &scale, "--repetitions", &repetitions, "--report", "bench/flight.md"];
        example("weir-server", "bench", &args)?;
    }
    if wanted("neighbours") {
        example("weir-server", "bench", &["neighbours", "--scale", &scale, "--report", "bench/neighbours.md"])?;
    }
    if wanted("remote") {
        let args = ["remote", "--scale", &scale, "--repetitions", &repetitions, "--report", "bench/remote.md"];
        example("weir-server", "bench", &args)?;
    }
    if wanted("timing") {
        // A difference of microseconds takes many repetitions to see.
        example("weir-server", "bench", &["timing", "--repetitions", "400", "--report", "bench/timing.md"])?;
    }
    Ok(())
}
