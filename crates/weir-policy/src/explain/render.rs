//! An explanation as text for a terminal.

use std::fmt;

use super::{Because, ColumnSeen, Explanation, RowsSeen};

/// Lines are not longer, unless a word is.
const WIDTH: usize = 100;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.as_ref().map_or_else(|| "an unknown data source".to_owned(), ToString::to_string);
        let may = if self.access.granted { "may read" } else { "may not read" };
        let within = self.project.as_ref().map_or_else(String::new, |project| format!(" in project {project}"));
        writeln!(f, "{} {may} {source}{within} (epoch {})", self.principal, self.epoch)?;
        wrapped(f, 2, &self.access.why)?;
        if let Some(rows) = &self.rows {
            writeln!(f)?;
            self::rows(f, rows)?;
        }
        if !self.columns.is_empty() {
            writeln!(f, "\nColumns")?;
            columns(f, &self.columns)?;
        }
        Ok(())
    }
}

fn rows(f: &mut fmt::Formatter<'_>, rows: &RowsSeen) -> fmt::Result {
    if rows.only_where.is_empty() {
        writeln!(f, "Rows: all of them")?;
    } else {
        writeln!(f, "Rows: only those for which all of this is true")?;
    }
    for filter in &rows.only_where {
        wrapped(f, 2, &filter.condition)?;
        because(f, 6, &filter.because)?;
    }
    rows.not_filtered.iter().try_for_each(|policy| {
        because(f, 2, &Because { why: format!("filters nothing: {}", policy.why), ..policy.clone() })
    })
}

fn columns(f: &mut fmt::Formatter<'_>, columns: &[ColumnSeen]) -> fmt::Result {
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
    let name = width(&mut columns.iter().map(|column| column.name.as_str().chars().count()));
    let data_type = width(&mut columns.iter().map(|column| column.data_type.chars().count()));
    for column in columns {
        let shown = &column.shown;
        writeln!(f, "  {:name$}  {:data_type$}  {shown}", column.name.as_str(), column.data_type)?;
        column.masked.iter().try_for_each(|policy| because(f, 6, policy))?;
        for policy in &column.not_masked {
            because(f, 6, &Because { why: format!("does not mask it: {}", policy.why), ..policy.clone() })?;
        }
    }
    Ok(())
}

pub(super) fn because(f: &mut fmt::Formatter<'_>, indent: usize, because: &Because) -> fmt::Result {
    let from = because.from.as_ref().map(|from| format!(" of `{from}`")).unwrap_or_default();
    wrapped(f, indent, &format!("policy `{}`{from}: {}", because.policy, because.why))
}

/// The text in lines that start with so many spaces; those after the first with two more.
pub(crate) fn wrapped(f: &mut fmt::Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            write!(f, "{:indent$}{word}", "")?;
            column = indent + length;
        } else if column + 1 + length > WIDTH {
            write!(f, "\n{:1$}{word}", "", indent + 2)?;
            column = indent + 2 + length;
        } else {
            write!(f, " {word}")?;
            column += 1 + length;
        }
    }
    writeln!(f)
}
