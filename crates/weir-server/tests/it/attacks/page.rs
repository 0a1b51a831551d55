//! The list of entries in `docs/security.md`, between two marks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::entry::Entry;

const START: &str = "<!-- The list of attacks, made by `cargo xtask golden`. -->\n";
const END: &str = "<!-- The end of the list. -->\n";

/// The page with the list that the entries make.
pub(crate) fn with_list(page: &str, entries: &[Entry]) -> String {
    let (before, rest) = page.split_once(START).expect("the page has a mark where the list starts");
    let (_, after) = rest.split_once(END).expect("the page has a mark where the list ends");
    format!("{before}{START}{}{END}{after}", list(entries))
}

fn list(entries: &[Entry]) -> String {
    let mut classes: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        classes.entry(&entry.class).or_default().push(entry);
    }
    let mut text = "\n| class | entries | statements |\n| --- | ---: | ---: |\n".to_owned();
    for (class, entries) in &classes {
        let statements: usize = entries.iter().map(|entry| entry.count()).sum();
        writeln!(text, "| [{class}](#{class}) | {} | {statements} |", entries.len()).unwrap();
    }
    let statements: usize = entries.iter().map(Entry::count).sum();
    writeln!(text, "| all | {} | {statements} |", entries.len()).unwrap();
    for (class, entries) in classes {
        write!(text, "\n### {class}\n\n| entry | what is tried |\n| --- | --- |\n").unwrap();
        for entry in entries {
            let tries = entry.tries.replace('|', "\\|");
            writeln!(text, "| [{id}](../tests/attacks/{class}/{id}.attack) | {tries} |", id = entry.id).unwrap();
        }
    }
    text.push('\n');
    text
}
