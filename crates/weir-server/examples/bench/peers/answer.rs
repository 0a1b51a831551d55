//! Whether two systems answer the same, when each writes numbers in its own way.

/// Rows of texts.
pub(super) type Answer = Vec<Vec<Option<String>>>;

#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Cell {
    Null,
    /// Of some key; which value it is of shows in what goes with it.
    Hash,
    Number(f64),
    Text(String),
}

impl Cell {
    fn of(text: &Option<String>) -> Self {
        let Some(text) = text else { return Cell::Null };
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Cell::Hash;
        }
        text.parse().map_or_else(|_| Cell::Text(text.clone()), Cell::Number)
    }

    /// Averages are cut off after six places by some.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Cell::Number(a), Cell::Number(b)) => (a - b).abs() <= 2e-6 + 1e-6 * a.abs().max(b.abs()),
            (Cell::Null | Cell::Hash | Cell::Number(_) | Cell::Text(_), _) => self == other,
        }
    }
}

/// Whether the text says in which order its rows come.
pub(super) fn is_ordered(sql: &str) -> bool {
    sql.contains("ORDER BY")
}

/// What the difference is, if there is one. Where not `same`, any rows will do.
pub(super) fn agree(one: &Answer, other: &Answer, ordered: bool, same: bool) -> Result<(), String> {
    if one.len() != other.len() {
        return Err(format!("{} and {} rows", one.len(), other.len()));
    }
    if !same {
        return Ok(());
    }
    let cells = |answer: &Answer| {
        let mut rows: Vec<Vec<Cell>> = answer.iter().map(|row| row.iter().map(Cell::of).collect()).collect();
        if !ordered {
            rows.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        }
        rows
    };
    for (a, b) in cells(one).iter().zip(&cells(other)) {
        if a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| a.agrees(b)) {
            return Err(format!("{a:?} and {b:?}"));
        }
    }
    Ok(())
}
