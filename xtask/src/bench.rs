//! Measurements. The programs are examples of the crates they measure; their reports land in `bench/`.

use anyhow::{Result, bail};

use crate::run::{cargo, command, root};

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Only this one: `decision`, `scale`, `tpch`, `grants`, `wire`, `flight`, `load`, `peers`, `neighbours`, `remote` or
    /// `timing`.
    only: Option<String>,
    /// TPC-H scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Repetitions of each query.
    #[arg(long, default_value_t = 15)]
    repetitions: usize,
    /// How long `load` goes on.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Of `load`.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// A try, with little data and few repetitions; the reports stay as they are.
    #[arg(long)]
    quick: bool,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        let all = [
            "decision",
            "scale",
            "tpch",
            "grants",
            "wire",
            "flight",
            "load",
            "peers",
            "neighbours",
            "remote",
            "timing",
        ];
        match self.only.as_deref() {
            Some(name) if !all.contains(&name) => bail!("there is no benchmark `{name}`: {}", all.join(", ")),
            Some(_) | None => {}
        }
        all.into_iter()
            .filter(|name| self.only.as_deref().is_none_or(|only| only == *name))
            .try_for_each(|name| self.one(name))
    }

    fn one(&self, name: &str) -> Result<()> {
        match name {
            "decision" => return example("weir-policy", "decide_latency", &self.report("decision")),
            "scale" => {
                example("weir-policy", "scale", &self.report("scale"))?;
                // Adds to the report.
                return example("weir-store", "store_scale", &self.report("scale"));
            }
            _ => {}
        }
        // Many connections are about statements, not about rows.
        let scale = if self.quick {
            0.05
        } else if name == "load" {
            self.scale.min(0.1)
        } else {
            self.scale
        };
        // A difference of microseconds takes many repetitions to see.
        let repetitions = match (name, self.quick) {
            ("timing", false) => 400,
            ("timing", true) => 20,
            (_, true) => 2,
            (_, false) => self.repetitions,
        };
        let mut args: Vec<String> = vec![name.to_owned()];
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        add("--scale", scale.to_string());
        add("--repetitions", repetitions.to_string());
        match name {
            "load" => {
                add("--minutes", if self.quick { 0.5 } else { self.minutes }.to_string());
                add("--connections", self.connections.to_string());
            }
            "peers" => add("--python", peers()?),
            _ => {}
        }
        args.extend(self.report(name));
        if ["wire", "flight", "load", "neighbours"].contains(&name) {
            let both = ["build", "--release", "--package", "weir-server", "--bin", "weir", "--example", "bench"];
            cargo(&both, &[])?;
        }
        example("weir-server", "bench", &args)
    }

    /// Where the report goes, if it is one.
    fn report(&self, name: &str) -> Vec<String> {
        if self.quick { Vec::new() } else { vec!["--report".to_owned(), format!("bench/{name}.md")] }
    }
}

fn example(package: &str, name: &str, args: &[String]) -> Result<()> {
    let mut all = vec!["run", "--release", "--package", package, "--example", name, "--"];
    all.extend(args.iter().map(String::as_str));
    cargo(&all, &[])
}

/// Makes a Python that has what the comparison asks.
fn peers() -> Result<String> {
    let (to, lock) = (root().join("target/bench-python"), root().join("bench/peers/requirements.txt"));
    let text = |path: &std::path::Path| path.display().to_string();
    command("python3", &["-m", "venv", &text(&to)], &[])?;
    let (pip, python) = (text(&to.join("bin/pip")), text(&to.join("bin/python")));
    let lock = text(&lock);
    command(&pip, &["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", &lock], &[])?;
    Ok(python)
}
