//! Tables for people, on a terminal.

use comfy_table::{Table, presets};

/// Columns under headings, without lines.
pub(crate) fn list(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = table(presets::NOTHING, headings.iter().map(|heading| heading.to_uppercase()), rows);
    table.column_iter_mut().for_each(|column| _ = column.set_padding((0, 2)));
    table.trim_fmt()
}

/// Rows between lines, as an answer to a query.
pub(crate) fn grid(headings: impl IntoIterator<Item = String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    table(presets::UTF8_FULL_CONDENSED, headings, rows).to_string()
}

fn table(
    preset: &str,
    headings: impl IntoIterator<Item = String>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Table {
    let mut table = Table::new();
    table.load_preset(preset).set_header(headings.into_iter().map(|heading| printable(&heading)));
    table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()));
    table
}

/// Keeps stored text from steering the terminal.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| c.is_control() && c != '\n';
    if !text.contains(escape) {
        return text.to_owned();
    }
    text.chars().map(|c| if escape(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// On one line and at most `max` characters.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let mut short: String = line.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// `a, b`, or `-` for nothing.
pub(crate) fn joined(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
        assert_eq!(shortened("select\n  1", 20), "select 1");
        assert_eq!(shortened("select 1", 5), "sele…");
        assert_eq!(joined(Vec::<String>::new()), "-");
    }
}
