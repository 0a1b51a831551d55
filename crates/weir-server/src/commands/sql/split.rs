//! Cuts a text into statements at semicolons, as SQL reads them.

/// Statements that are complete, without their semicolons, and what comes after the last one.
pub(super) fn split(text: &str) -> (Vec<&str>, &str) {
    let mut statements = Vec::new();
    let mut rest = text;
    while let Some(end) = statement_end(rest) {
        let (statement, after) = rest.split_at(end);
        if !is_blank(statement) {
            statements.push(statement.trim());
        }
        rest = after.strip_prefix(';').unwrap_or(after);
    }
    (statements, rest)
}

/// Whether there is nothing but spaces and comments.
pub(super) fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(comment) = comment_len(rest) {
        rest = rest.split_at(comment).1.trim_start();
    }
    rest.is_empty()
}

/// Where the first semicolon outside of quotes and comments is.
fn statement_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let first = rest.chars().next()?;
        if first == ';' {
            return Some(at);
        }
        at += comment_len(rest).or_else(|| quoted_len(rest)).or_else(|| dollar_len(rest)).unwrap_or(first.len_utf8());
    }
}

fn comment_len(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    // They nest.
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// A doubled quote inside ends one text and begins the next, which comes to the same here.
fn quoted_len(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = text.get(1..)?;
    Some(inside.find(quote).map_or(text.len(), |end| end + 2))
}

/// `$tag$ … $tag$`
fn dollar_len(text: &str) -> Option<usize> {
    let (tag, inside) = text.strip_prefix('$')?.split_once('$')?;
    if tag.starts_with(|c: char| c.is_ascii_digit()) || !tag.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let mark = format!("${tag}$");
    Some(inside.find(&mark).map_or(text.len(), |end| mark.len() + end + mark.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_semicolons_of_sql_cut() {
        let text =
            "select ';' as \"a;b\" -- no ;\n, 'it''s;' /* ; /* ; */ ; */ , $$;$$, $x$ $$;$x$, $1; ; select 2; select";
        let (statements, rest) = split(text);
        assert_eq!(statements.len(), 2);
        assert!(statements[0].ends_with("$1"));
        assert_eq!(statements[1], "select 2");
        assert_eq!(rest, " select");
    }

    #[test]
    fn what_is_open_is_not_complete() {
        for text in ["select 'a;", "select 1 -- ;", "/* ;", "$a$ ; $b$", "é"] {
            assert_eq!(split(text), (vec![], text));
        }
        assert!(is_blank(" -- x\n /* y */ "));
        assert!(!is_blank(" 1"));
        assert_eq!(split("-- only a comment;\n ;").0, Vec::<&str>::new());
    }
}
