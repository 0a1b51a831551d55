//! SQL of other systems as predicates of Weir. What could mean something else there is refused.

use weir_model::{ColumnName, Value};
use weir_policy::ast::{At, ColumnRef, Predicate, UserCall};
use weir_policy::language;

use crate::error::short;

/// How the system spells SQL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What stands in double quotes.
    pub(crate) double_quotes: DoubleQuotes,
    /// Names of columns are in small letters, however they are written.
    pub(crate) small_letters: bool,
    /// `@name(…)` has the meaning that it has in Weir.
    pub(crate) functions: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DoubleQuotes {
    Text,
    Name,
    /// It depends on what cannot be known here.
    Unknown,
}

/// Words that are functions elsewhere and would be read as columns.
const BARE_FUNCTIONS: [&str; 8] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "session_user",
];

/// A condition over the columns of a row.
pub(crate) fn condition(text: &str, dialect: Dialect) -> Result<Predicate, String> {
    let plain = plain(text, dialect)?;
    read(&plain, dialect)
}

/// An expression for a masked value, in which `column` stands for the value.
pub(crate) fn expression(text: &str, column: &str, dialect: Dialect) -> Result<Predicate, String> {
    const VALUE: &str = "@column";
    let plain = match column == VALUE {
        true => plain(text, dialect)?,
        false => {
            let parts: Vec<&str> = text.split(column).collect();
            // Within quotes it would be a part of the text.
            let quotes = |part: &&str| part.matches(['\'', '"', '`']).count();
            let (last, before) = parts.split_last().ok_or("it is empty")?;
            let mut open = 0;
            for part in before {
                open += quotes(part);
                if open % 2 == 1 {
                    return Err(format!("`{column}` stands within quotes"));
                }
            }
            let parts = before.iter().chain([last]).map(|part| plain(part, dialect));
            parts.collect::<Result<Vec<_>, _>>()?.join(VALUE)
        }
    };
    read(&plain, dialect)
}

fn read(plain: &str, dialect: Dialect) -> Result<Predicate, String> {
    let mut predicate = language::parse_predicate(plain).map_err(|diagnostic| {
        let at = diagnostic.at.map(|at| plain.get(..at.start).unwrap_or(plain).chars().count() + 1);
        let place = at.map(|at| format!(" at character {at} of `{}`", short(plain))).unwrap_or_default();
        let help = diagnostic.help.map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}{place}{help}", diagnostic.message)
    })?;
    same_meaning(&mut predicate, dialect, Reached::Truth)?;
    Ok(predicate)
}

/// The text with every quote as Weir writes it, and nothing that means something else there.
fn plain(text: &str, dialect: Dialect) -> Result<String, String> {
    let refused = |what: &str| Err(format!("{what} may mean something else than in Weir"));
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => return refused("a backslash"),
            (_, '{' | '}' | '$') => return Err(format!("`{c}` stands for something that is put in later")),
            (None, '\'') => {
                quote = Some(c);
                out.push(c);
            }
            (None, '`') => {
                quote = Some(c);
                out.push('"');
            }
            (None, '"') => match dialect.double_quotes {
                DoubleQuotes::Unknown => return refused("a double quote"),
                DoubleQuotes::Name => {
                    quote = Some(c);
                    out.push('"');
                }
                DoubleQuotes::Text => {
                    quote = Some(c);
                    out.push('\'');
                }
            },
            (None, '@') if !dialect.functions => return refused("`@`"),
            (None, '#' | ';') => return refused(&format!("`{c}`")),
            (None, '-') if chars.peek() == Some(&'-') => return refused("a comment"),
            (None, '/') if chars.peek() == Some(&'*') => return refused("a comment"),
            (None, c) if c.is_whitespace() => out.push(' '),
            (None, c) => out.push(c),
            (Some(open), c) if c == open => {
                if chars.peek() == Some(&open) {
                    // Hive joins two texts that touch; others see one quote.
                    if open == '"' && dialect.double_quotes == DoubleQuotes::Text {
                        return refused("a quote in quotes");
                    }
                    if open == '\'' && dialect.double_quotes == DoubleQuotes::Text {
                        return refused("a quote in quotes");
                    }
                    chars.next();
                    out.push_str(if open == '\'' { "''" } else { "\"\"" });
                } else {
                    quote = None;
                    out.push(if open == '"' && dialect.double_quotes == DoubleQuotes::Text {
                        '\''
                    } else if open == '`' {
                        '"'
                    } else {
                        open
                    });
                }
            }
            (Some('"'), '\'') if dialect.double_quotes == DoubleQuotes::Text => out.push_str("''"),
            (Some('`'), '"') => out.push_str("\"\""),
            (Some(_), c) => out.push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote `{open}` is never closed")),
        None => Ok(out),
    }
}

/// Where the truth of a part counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Only whether it is true: FALSE and NULL are alike.
    Truth,
    /// It may be turned round or asked for NULL.
    Otherwise,
}

/// Refuses what has another meaning in Weir, and writes the rest as Weir does.
fn same_meaning(predicate: &mut Predicate, dialect: Dialect, reached: Reached) -> Result<(), String> {
    let deep = |part: &mut Predicate| same_meaning(part, dialect, Reached::Otherwise);
    match predicate {
        Predicate::Literal(_) => Ok(()),
        Predicate::Column(At { node: column, .. }) => {
            let name = column.name.as_str();
            if column.qualifier.is_none() && BARE_FUNCTIONS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
                return Err(format!("the function `{name}` is not known"));
            }
            if dialect.small_letters {
                small_letters(column)?;
            }
            Ok(())
        }
        Predicate::Compare { left, right, .. } => deep(left).and_then(|()| deep(right)),
        Predicate::Between { value, low, high, .. } => deep(value).and_then(|()| deep(low)).and_then(|()| deep(high)),
        Predicate::In { value, list, .. } => {
            if list.iter().any(|item| matches!(item, Predicate::Literal(Value::Null))) {
                return Err("NULL in a list makes NOT IN never true".to_owned());
            }
            deep(value)?;
            list.iter_mut().try_for_each(deep)
        }
        Predicate::InLookup { value, lookup, negated } => {
            if *negated || reached == Reached::Otherwise {
                // SQL finds nothing when a key is NULL; Weir passes over those rows.
                return Err("a lookup with IN that is turned round treats NULL in another way".to_owned());
            }
            deep(value)?;
            lookup.key.iter_mut().try_for_each(deep)?;
            lookup.filter.iter_mut().try_for_each(|filter| same_meaning(filter, dialect, Reached::Truth))
        }
        Predicate::Exists { lookup, .. } => {
            // Weir gives NULL where SQL gives FALSE, which is the same as long as only truth counts.
            if reached == Reached::Otherwise {
                return Err("EXISTS that is turned round or compared treats NULL in another way".to_owned());
            }
            lookup.key.iter_mut().try_for_each(deep)?;
            lookup.filter.iter_mut().try_for_each(|filter| same_meaning(filter, dialect, Reached::Truth))
        }
        Predicate::Like { value, pattern, .. } => deep(value).and_then(|()| deep(pattern)),
        Predicate::IsNull { value, .. } => deep(value),
        Predicate::And(parts) | Predicate::Or(parts) => {
            parts.iter_mut().try_for_each(|part| same_meaning(part, dialect, reached))
        }
        Predicate::Not(part) => deep(part),
        Predicate::Call { args, .. } => args.iter_mut().try_for_each(deep),
        Predicate::User(At { node: call, .. }) => user(call, dialect),
    }
}

fn small_letters(column: &mut ColumnRef) -> Result<(), String> {
    let lower = |text: &str| text.to_lowercase();
    column.name = ColumnName::new(lower(column.name.as_str())).map_err(|error| error.to_string())?;
    column.qualifier = column.qualifier.as_deref().map(lower);
    Ok(())
}

/// Other systems write the column of these functions as a text.
fn user(call: &mut UserCall, dialect: Dialect) -> Result<(), String> {
    match call {
        UserCall::AttributeValuesContains(_, value, _)
        | UserCall::GroupsContains(value, _)
        | UserCall::PurposesContains(value, _) => {
            if let Predicate::Literal(Value::Text(text)) = &**value {
                **value = language::parse_predicate(text)
                    .map_err(|diagnostic| format!("{} in `{}`", diagnostic.message, short(text)))?;
            }
            same_meaning(value, dialect, Reached::Otherwise)
        }
        // What it means elsewhere is nowhere written down.
        UserCall::InterpolatedComparison { .. } => Err("`@interpolatedComparison` may mean something else".to_owned()),
        UserCall::Username
        | UserCall::Iam
        | UserCall::IsInGroups(_)
        | UserCall::HasAttribute(..)
        | UserCall::IsUsingPurpose(_)
        | UserCall::MaskedColumn
        | UserCall::ColumnTagged(_)
        | UserCall::ColumnReference(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIVE: Dialect = Dialect { double_quotes: DoubleQuotes::Text, small_letters: true, functions: false };
    const TRINO: Dialect = Dialect { double_quotes: DoubleQuotes::Name, small_letters: true, functions: false };
    const OTHER: Dialect = Dialect { double_quotes: DoubleQuotes::Unknown, small_letters: false, functions: true };

    fn said(text: &str, dialect: Dialect) -> Result<String, String> {
        condition(text, dialect).map(|predicate| language::predicate_text(&predicate))
    }

    #[test]
    fn double_quotes_are_those_of_the_dialect() {
        assert_eq!(said("Country = \"US\"", HIVE).unwrap(), "country = 'US'");
        assert_eq!(said("Country = \"it's\"", HIVE).unwrap(), "country = 'it''s'");
        assert_eq!(said("\"Unit Price\" > 1", TRINO).unwrap(), "\"unit price\" > 1");
        assert_eq!(said("`Unit Price` > 1", HIVE).unwrap(), "\"unit price\" > 1");
        assert!(said("country = \"US\"", OTHER).unwrap_err().contains("a double quote"));
    }

    #[test]
    fn what_means_something_else_is_refused() {
        for text in [
            "a = 'x\\'y'",
            "a = '{USER}'",
            "a = 'it''s'",
            "a = @username",
            "a = 1 -- or b = 2",
            "a = 1 /* or b = 2 */",
            "a = 1; b = 2",
            "a = current_user",
            "a = 1 # or",
            "a NOT IN (1, NULL)",
            "a NOT IN (SELECT b FROM s.t)",
            "NOT (a IN (SELECT b FROM s.t))",
            "(a IN (SELECT b FROM s.t)) IS NULL",
            "NOT EXISTS (SELECT 1 FROM s.t x WHERE x.a NOT IN (SELECT b FROM s.u))",
            "a = 'open",
            "year(a) = 2020",
            "a == 1",
            "",
        ] {
            assert!(said(text, HIVE).is_err(), "{text}");
        }
    }

    #[test]
    fn what_means_the_same_is_carried_over() {
        for text in [
            "a IN (SELECT b FROM s.t WHERE c = 'x') OR d IS NULL",
            "NOT (a = 1 AND b LIKE 'x%')",
            "NOT EXISTS (SELECT 1 FROM s.t x WHERE x.a = b)",
            "a BETWEEN DATE '2020-01-01' AND DATE '2020-12-31'",
        ] {
            assert_eq!(said(text, HIVE).unwrap(), text);
        }
    }

    #[test]
    fn a_column_in_a_text_is_a_column() {
        let text = "@attributeValuesContains('dept', 'Section') AND @groupsContains('@columnTagged(''a'')')";
        assert_eq!(
            said(text, OTHER).unwrap(),
            "@attributeValuesContains('dept', Section) AND @groupsContains(@columnTagged('a'))"
        );
        assert!(said("@attributeValuesContains('dept', 'a b c')", OTHER).is_err());
    }

    #[test]
    fn the_masked_value_is_not_looked_for_in_quotes() {
        let said = |text| expression(text, "{col}", HIVE).map(|predicate| language::predicate_text(&predicate));
        assert_eq!(said("concat('x-', right({col}, 4))").unwrap(), "concat('x-', right(@column, 4))");
        assert!(said("concat('{col}', 'a')").unwrap_err().contains("within quotes"));
        assert!(said("mask_show_last_n({col}, 4, 'x', 'x', 'x', -1, '1')").is_err());
    }
}
