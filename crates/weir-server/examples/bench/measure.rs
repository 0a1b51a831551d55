use std::io::Write;

use cpu_time::ProcessTime;

/// CPU milliseconds of the whole process that `work` takes.
pub(crate) async fn cpu_ms<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(f64, T)> {
    let started = ProcessTime::now();
    let done = work.await?;
    Ok((started.elapsed().as_secs_f64() * 1e3, done))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median over repetitions of `a / b`.
pub(crate) fn ratio(a: &[f64], b: &[f64]) -> f64 {
    median(a.iter().zip(b).map(|(a, b)| a / b).collect())
}

pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// How far it is, for whoever waits.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A goal of which the figure may be at most, or has to be at least, as large as the limit.
pub(crate) struct Goal {
    pub(crate) name: &'static str,
    pub(crate) measured: f64,
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn line(&self) -> String {
        let (sign, limit, met) = match self.limit {
            Limit::AtMost(limit) => ("≤", limit, self.measured <= limit),
            Limit::AtLeast(limit) => ("≥", limit, self.measured >= limit),
        };
        let met = if met { "met" } else { "**not met**" };
        format!("| {} | {sign} {limit} | {:.3} | {met} |\n", self.name, self.measured)
    }
}

/// A figure that is missing meets no goal.
pub(crate) fn goals(goals: &[Goal]) -> String {
    let lines: String = goals.iter().map(Goal::line).collect();
    format!("| goal | limit | measured | |\n| --- | --- | --- | --- |\n{lines}")
}
