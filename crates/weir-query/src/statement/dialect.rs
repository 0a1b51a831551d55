//! PostgreSQL's ways of saying what the engine can do.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named stays as it is")]

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Statement as Sql, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// An expression from its text.
pub(super) fn parsed(sql: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).ok()?.parse_expr().ok()
}

/// The text of a string constant.
pub(super) fn string(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

/// Rewrites the statement as the engine understands it.
pub(super) fn translate(sql: &mut Sql) {
    struct Translating;
    impl VisitorMut for Translating {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            translate_expr(expr);
            ControlFlow::Continue(())
        }
    }
    let _ = sql.visit(&mut Translating);
}

fn translate_expr(expr: &mut Expr) {
    match expr {
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            let escape = escape_char.as_ref().and_then(|escape| match &escape.value {
                Value::SingleQuotedString(text) if text.chars().count() == 1 && text != "\\" => Some(text.clone()),
                _ => None,
            });
            if let Some(other) = escape.and_then(|escape| backslashed(pattern, &escape)) {
                **pattern = other;
                *escape_char = None;
            }
        }
        Expr::Function(call) if call.name.0.len() == 1 => {
            let name = call.name.to_string().to_lowercase();
            if let ("to_char" | "to_date" | "to_timestamp", FunctionArguments::List(list)) =
                (name.as_str(), &mut call.args)
                && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(template))] = list.args.as_mut_slice()
                && let Some(format) = string(template).and_then(strftime)
            {
                *template = Expr::Value(Value::SingleQuotedString(format).with_empty_span());
            }
        }
        _ => {}
    }
}

/// A pattern of `LIKE` with another escape character as one with the backslash, which is all that the engine knows.
fn backslashed(pattern: &Expr, escape: &str) -> Option<Expr> {
    let escape = escape.replace('\'', "''");
    parsed(&format!(
        "replace(replace(replace(replace({pattern}, '\\', '\\\\'), '{escape}{escape}', chr(1)), '{escape}', '\\'), \
         chr(1), '{escape}')"
    ))
}

/// A template of PostgreSQL as a format of the engine; `None` when it is one already, or has a part that is not known.
fn strftime(template: &str) -> Option<String> {
    const PARTS: [(&str, &str); 22] = [
        ("YYYY", "%Y"),
        ("YY", "%y"),
        ("Month", "%B"),
        ("MONTH", "%B"),
        ("Mon", "%b"),
        ("MON", "%b"),
        ("MM", "%m"),
        ("MI", "%M"),
        ("MS", "%3f"),
        ("Day", "%A"),
        ("DDD", "%j"),
        ("DD", "%d"),
        ("Dy", "%a"),
        ("DY", "%a"),
        ("HH24", "%H"),
        ("HH12", "%I"),
        ("HH", "%I"),
        ("SS", "%S"),
        ("US", "%6f"),
        ("AM", "%p"),
        ("PM", "%p"),
        ("IYYY", "%G"),
    ];
    let (mut rest, mut format, mut found) = (template, String::new(), false);
    while let Some(c) = rest.chars().next() {
        let part =
            PARTS.iter().find(|(part, _)| rest.get(..part.len()).is_some_and(|head| head.eq_ignore_ascii_case(part)));
        if let Some((part, as_format)) = part {
            format.push_str(as_format);
            found = true;
            rest = rest.get(part.len()..)?;
        } else if c == '"' {
            let (text, after) = rest.get(1..)?.split_once('"')?;
            format.push_str(&text.replace('%', "%%"));
            rest = after;
        } else if c.is_ascii_alphabetic() && c != 'T' || c == '%' {
            return None;
        } else {
            format.push(c);
            rest = rest.get(c.len_utf8()..)?;
        }
    }
    found.then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_formats_or_stay() {
        let cases = [
            ("YYYY-MM-DD", Some("%Y-%m-%d")),
            ("yyyy-mm-dd\"T\"HH24:MI:SS.US", Some("%Y-%m-%dT%H:%M:%S.%6f")),
            ("FMDay", None),
            ("%Y", None),
            ("--", None),
        ];
        for (template, format) in cases {
            assert_eq!(strftime(template).as_deref(), format, "{template}");
        }
    }
}
