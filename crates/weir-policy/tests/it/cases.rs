//! The portable policy cases under `tests/cases`, run by the engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use weir_author::case::{Suite, SuiteFile};

use crate::world::data;

#[test]
fn cases_are_decided_as_written() {
    let suite = Suite::find(&[data().join("cases")]).unwrap();
    let summary = suite.run(None, None).unwrap();
    assert!(summary.failed.is_empty(), "{summary}");
    let count: usize = suite.files.iter().map(|file| file.file.count()).sum();
    assert_eq!(summary.passed, count);
    assert!(count >= 200, "only {count} cases in {} files", suite.files.len());
}

/// `docs/policy-features.md` is made from the case files. `WEIR_ACCEPT=1` writes it anew.
#[test]
fn features_are_listed() {
    let mut features: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut files = Suite::find(&[data().join("cases")]).unwrap().files;
    // `custom` before `custom-clear`.
    files.sort_by_key(|file| file.name.trim_end_matches(".case").to_owned());
    for SuiteFile { name, file } in files {
        let path = Path::new(&name).strip_prefix(data()).unwrap().display().to_string();
        let feature = file.feature.unwrap_or_else(|| panic!("{name} names no feature"));
        features.entry(feature).or_default().push((path, file.about));
    }
    let mut text = FEATURES.to_owned();
    for (feature, files) in &features {
        // The first says what the feature is; those after it are about its corners.
        let (_, about) = &files[0];
        let cell = |text: &str| text.replace('|', "\\|");
        let links: Vec<String> = files
            .iter()
            .map(|(path, _)| {
                let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".case");
                format!("[{name}](../tests/{path})")
            })
            .collect();
        writeln!(text, "| `{feature}` | {} | {} |", cell(about), links.join(", ")).unwrap();
    }
    let place = data().join("../docs/policy-features.md");
    if std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1") {
        fs::write(&place, &text).unwrap();
    }
    let recorded = fs::read_to_string(&place).unwrap_or_default();
    assert!(recorded == text, "{} is not what the case files say; `cargo xtask golden`", place.display());
}

const FEATURES: &str = "\
# What policies can do

Each line is one thing that policies do, what it means, and the cases that show it.
The cases are run by the tests; this page is made from them by `cargo xtask golden`.

| feature | means | shown by |
| --- | --- | --- |
";
