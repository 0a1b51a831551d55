//! How often queries of each kind and calls of each function were asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use weir_testkit::generate::{KINDS_OF_QUERIES, called};

use crate::functions::to_be_called;

#[derive(Default)]
pub(crate) struct Coverage {
    counts: Mutex<BTreeMap<String, Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    asked: u64,
    with_rows: u64,
}

impl Coverage {
    pub(crate) fn count(&self, sql: &str, with_rows: bool) {
        let kinds = KINDS_OF_QUERIES.iter().filter(|(_, marker)| sql.contains(marker)).map(|(kind, _)| *kind);
        // Calls have names of their own, so that no kind is taken for one.
        let calls = called(sql).into_iter().map(|name| format!("{name}()"));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for what in kinds.map(str::to_owned).chain(calls) {
            let count = counts.entry(what).or_default();
            count.asked += 1;
            count.with_rows += u64::from(with_rows);
        }
    }

    fn of(&self, what: &str) -> Count {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(what).copied().unwrap_or_default()
    }

    /// Kinds of queries and functions that no query had which gave rows.
    pub(crate) fn missing(&self) -> Vec<String> {
        let kinds = KINDS_OF_QUERIES.iter().map(|(kind, _)| (*kind).to_owned());
        let calls = to_be_called().into_iter().map(|name| format!("{name}()"));
        kinds.chain(calls).filter(|what| self.of(what).with_rows == 0).collect()
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| kind of query | asked | with rows |\n| --- | ---: | ---: |\n");
        for (kind, _) in KINDS_OF_QUERIES {
            let Count { asked, with_rows } = self.of(kind);
            text.push_str(&format!("| {kind} | {asked} | {with_rows} |\n"));
        }
        let calls: Vec<Count> = to_be_called().iter().map(|name| self.of(&format!("{name}()"))).collect();
        let with_rows = calls.iter().filter(|count| count.with_rows > 0).count();
        let asked: u64 = calls.iter().map(|count| count.asked).sum();
        let least = calls.iter().map(|count| count.with_rows).min().unwrap_or_default();
        text.push_str(&format!(
            "\nOf {} functions {with_rows} were called in queries that gave rows, each at least {least} times; {asked} calls in all.\n",
            calls.len(),
        ));
        text
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}
