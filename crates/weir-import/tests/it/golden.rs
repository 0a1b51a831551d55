//! The exports below `tests/import` with what becomes of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use weir_import::{Document, Error, Import};
use weir_policy::language;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/import")
}

pub(crate) fn import(name: &str, read: fn(&[Document<'_>]) -> Result<Import, Error>) -> Import {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    read(&[Document { name, bytes: &bytes }]).unwrap_or_else(|error| panic!("{error}"))
}

/// The report, and every policy in both spellings.
pub(crate) fn rendered(import: &Import) -> String {
    let mut text = String::new();
    for line in &import.report.lines {
        let became = line.became.join(", ");
        writeln!(text, "{} | {} | {} | {became}", line.policy, line.path, line.outcome.as_str()).unwrap();
        if !line.why.is_empty() {
            writeln!(text, "    {}", line.why).unwrap();
        }
    }
    for imported in &import.policies {
        writeln!(text, "\n-- {}", language::to_english(&imported.policy).replace('\n', "\n-- ")).unwrap();
        text += &imported.text;
    }
    text
}

#[test]
fn ranger_of_a_hospital() {
    let import = import("hospital.ranger.json", weir_import::ranger);
    expect_file![folder().join("hospital.ranger.out")].assert_eq(&rendered(&import));
}

#[test]
fn ranger_of_a_bank() {
    let import = import("bank.ranger.json", weir_import::ranger);
    expect_file![folder().join("bank.ranger.out")].assert_eq(&rendered(&import));
}

#[test]
fn immuta_of_a_hospital() {
    let import = import("hospital.immuta.yaml", weir_import::immuta);
    expect_file![folder().join("hospital.immuta.out")].assert_eq(&rendered(&import));
}

#[test]
fn immuta_of_a_bank() {
    let import = import("bank.immuta.json", weir_import::immuta);
    expect_file![folder().join("bank.immuta.out")].assert_eq(&rendered(&import));
}
