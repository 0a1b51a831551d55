//! Masks bound to columns.

use std::sync::Arc;

use regex::Regex;
use weir_model::{Column, ColumnId, DataSource, DataType, TypeClass, Value};

use super::literal::{constant, whole_range};
use super::{Absence, Catalog, Misfit, carries, one_value, placed, predicate, reach, row_key};
use crate::ast::{At, CalendarUnit, Columns, MaskAction, Method, Predicate, Randomized, RoundTo};
use crate::bucket::bucket;
use crate::decision::Mask;
use crate::diagnostic::Diagnostic;
use crate::exact::Exact;
use crate::expr::{Expr, Reads, UserTerm};
use crate::language::print;

/// The code of a mask that is not for the type of its column.
pub(super) const MASK_TYPE: &str = "policy::mask-type";

/// How closely a rule picks a column; of several rules for one column the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closeness {
    /// By having tags or none, or by being there.
    Broad,
    NamedLike,
    /// By a tag of so many parts.
    Tagged(usize),
    Named,
}

/// One mask rule on one source.
#[derive(Default)]
pub(crate) struct MaskRule {
    pub(crate) targets: Vec<Target>,
    /// Only where this is true.
    pub(crate) when: Option<Expr<UserTerm>>,
    /// Of the condition.
    pub(crate) reads: Reads,
    /// Why the rule cannot be applied at all.
    pub(crate) broken: Option<Diagnostic>,
    /// Columns that the source lacks, so that the rule does less here or nothing.
    pub(crate) passed_over: Vec<Absence>,
    /// What the source lacks of the condition, so that the rule does nothing here.
    pub(crate) without_condition: Option<Absence>,
}

/// A column that a rule masks.
pub(crate) struct Target {
    pub(crate) column: ColumnId,
    pub(crate) closeness: Closeness,
    /// How, or why the mask does not fit the column.
    pub(crate) mask: Result<Mask, Diagnostic>,
    /// The method that the mask stands in for, in words.
    pub(crate) instead_of: Option<Arc<str>>,
}

impl MaskRule {
    pub(super) fn broken(why: Diagnostic) -> Self {
        Self { broken: Some(why), ..Self::default() }
    }
}

pub(super) fn bind(
    action: &MaskAction,
    pattern: Option<&Result<Regex, Diagnostic>>,
    source: &DataSource,
    catalog: &Catalog<'_>,
    names_sources: bool,
) -> MaskRule {
    let mut rule = MaskRule::default();
    let picked: Vec<&Column> = match (&action.columns, pattern) {
        (Columns::Named(names), _) => {
            let mut picked = Vec::new();
            for name in names {
                match source.place(name.node.as_str()) {
                    Some(column) => picked.push(column),
                    None => rule.passed_over.push(Absence::column(name.node.as_str(), name.span)),
                }
            }
            picked
        }
        (Columns::NamedLike { .. }, Some(Ok(regex))) => {
            source.places().filter(|column| regex.is_match(column.name.as_str())).collect()
        }
        (Columns::NamedLike { .. }, Some(Err(why))) => return MaskRule::broken(why.clone()),
        (Columns::NamedLike { .. }, None) => Vec::new(),
        (Columns::Tagged(tag), _) => source.places().filter(|column| carries(column, &tag.node)).collect(),
        (Columns::AnyTag, _) => source.places().filter(|column| !column.tags.is_empty()).collect(),
        // A column with all that is in it.
        (Columns::NoTags, _) => source.columns.iter().filter(|column| column.tags.is_empty()).collect(),
        (Columns::All, _) => source.columns.iter().collect(),
    };
    if names_sources && let Some(first) = rule.passed_over.first() {
        rule.broken = Some(first.on(&[source]));
        return rule;
    }
    if picked.is_empty() {
        return rule;
    }
    match action.when.as_ref().map(|when| predicate::truth(when, source, catalog)).transpose() {
        Ok(when) => {
            rule.reads = when.as_ref().map(Expr::reads).unwrap_or_default();
            rule.when = when.map(Expr::simplified);
        }
        Err(Misfit::Absent(why)) if !names_sources => {
            rule.without_condition = Some(why);
            return rule;
        }
        Err(misfit) => {
            rule.broken = Some(misfit.on(source));
            return rule;
        }
    }
    if let Method::KAnonymous(at_least) = &action.method.node {
        if let Some(several) = picked.iter().find(|column| holds_several(column, source)) {
            let message = format!(
                "k-anonymization counts single values, and `{}` of `{}` is {}",
                several.name, source.name, several.data_type
            );
            rule.broken = Some(placed(Diagnostic::error(MASK_TYPE, message), action.method.span));
            return rule;
        }
        let columns = picked.iter().map(|column| column.id).collect();
        let rare = Expr::Not(Box::new(Expr::Frequent { columns, at_least: *at_least }));
        rule.reads.source = true;
        rule.when = Some(match rule.when.take() {
            Some(when) => Expr::And(vec![when, rare]),
            None => rare,
        });
    }
    let closeness = closeness(&action.columns);
    let fit = |method: &At<Method>, column: &Column| {
        let fitted = if let Method::Custom(expression) = &method.node {
            custom(expression, column, source, catalog)
        } else {
            fit(&method.node, column, source)
        };
        fitted.map_err(|why| placed(why, method.span))
    };
    let target = |column: &Column| {
        let (mut mask, mut instead_of) = (fit(&action.method, column), None);
        if mask.as_ref().is_err_and(is_misfit) {
            let mut others = action.or_else.iter().map(|method| fit(method, column));
            if let Some(other) = others.find(|other| !other.as_ref().is_err_and(is_misfit)) {
                (mask, instead_of) = (other, Some(print::method(&action.method.node).into()));
            }
        }
        Target { column: column.id, closeness, mask, instead_of }
    };
    rule.targets = picked.into_iter().map(target).collect();
    rule
}

/// Whether a method is not for the type of the column; whatever else is wrong with it, nothing stands in for it.
fn is_misfit(why: &Diagnostic) -> bool {
    [MASK_TYPE, predicate::TYPE_MISMATCH].contains(&why.code)
}

/// Whether it is a nested column, or a part of which one row may have several.
fn holds_several(column: &Column, source: &DataSource) -> bool {
    column.data_type.class() == TypeClass::Nested || source.part(column.id).is_some_and(|part| part.repeated)
}

/// The expression over the row, which gives a value of the column's type.
fn custom(
    expression: &Predicate,
    column: &Column,
    source: &DataSource,
    catalog: &Catalog<'_>,
) -> Result<Mask, Diagnostic> {
    one_value(column, source, None).map_err(|misfit| misfit.on(source))?;
    let bound = predicate::value_for(expression, column, source, catalog).map_err(|misfit| misfit.on(source))?;
    let computed = bound.without_questions().filter(|expr| !expr.looks_up()).ok_or_else(|| {
        let message = "a custom function speaks of the row alone";
        let help = "say for whom with `for everyone who … otherwise …`, and for which rows with `where …`";
        Diagnostic::error("policy::custom-function", message).help(help)
    })?;
    Ok(Mask::Computed(computed))
}

fn closeness(columns: &Columns) -> Closeness {
    match columns {
        Columns::Named(_) => Closeness::Named,
        Columns::Tagged(tag) => Closeness::Tagged(tag.node.depth()),
        Columns::NamedLike { .. } => Closeness::NamedLike,
        Columns::AnyTag | Columns::NoTags | Columns::All => Closeness::Broad,
    }
}

/// The mask for this column, which keeps its type. A list is masked element by element, but for nulling.
fn fit(method: &Method, column: &Column, source: &DataSource) -> Result<Mask, Diagnostic> {
    let data_type = column.data_type.element();
    let misfit = |what: &str, help: &str| {
        let whole = &column.data_type;
        let message = format!("{what} does not fit column `{}` of `{}`, which is {whole}", column.name, source.name);
        Diagnostic::error(MASK_TYPE, message).help(help)
    };
    match method {
        Method::Hash => match data_type.class() {
            TypeClass::Text => Ok(Mask::Hash),
            TypeClass::Boolean
            | TypeClass::Number
            | TypeClass::Binary
            | TypeClass::Date
            | TypeClass::Time
            | TypeClass::Timestamp
            | TypeClass::Nested => {
                Err(misfit("hashing", "hashing gives text, so it masks text columns only; nulling fits every type"))
            }
        },
        Method::Null | Method::KAnonymous(_) => Ok(Mask::Null),
        Method::Reversible => match data_type.class() {
            TypeClass::Text => Ok(Mask::Reversible),
            TypeClass::Boolean
            | TypeClass::Number
            | TypeClass::Binary
            | TypeClass::Date
            | TypeClass::Time
            | TypeClass::Timestamp
            | TypeClass::Nested => Err(misfit(
                "masking with reversibility",
                "it gives text, so it masks text columns only; whole numbers can keep their format",
            )),
        },
        Method::FormatPreserving => match data_type {
            DataType::Text | DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {
                Ok(Mask::FormatPreserving)
            }
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => Err(misfit(
                "format preserving masking",
                "the type has fewer than a million values of one form, so that they could be found by trying",
            )),
            DataType::Boolean
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal { .. }
            | DataType::Binary
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp { .. }
            | DataType::List(_)
            | DataType::Struct(_)
            | DataType::Map { .. } => Err(misfit("format preserving masking", "it masks text and whole numbers only")),
        },
        Method::Randomized(how) => {
            Ok(Mask::Randomized { how: randomized(how, data_type, &misfit)?, row_key: row_key(source)? })
        }
        // Bound with the catalog at hand.
        Method::Custom(_) => Err(misfit("a custom function", "write it for a column of its own")),
        Method::Constant(Value::Null) => Err(misfit("the constant NULL", "mask by making null instead")),
        Method::Constant(value) => constant(value, data_type).map(Mask::Constant).ok_or_else(|| {
            misfit(&format!("the constant {value}"), "the constant must be a value of the column's type")
        }),
        Method::Round(to) => round(to, data_type, &misfit).map(Mask::Round),
        Method::RoundByProfile => round(&by_profile(column, source, &misfit)?, data_type, &misfit).map(Mask::Round),
        Method::Regex { pattern, replacement, case_insensitive, global } => {
            if data_type.class() != TypeClass::Text {
                return Err(misfit("a regular expression", "regular expressions mask text columns only"));
            }
            let regex = reach::compile(pattern, *case_insensitive)?;
            check_replacement(&regex, replacement)?;
            Ok(Mask::Regex {
                pattern: pattern.clone(),
                replacement: replacement.clone(),
                case_insensitive: *case_insensitive,
                global: *global,
            })
        }
    }
}

/// With its values as those of the column's type.
fn randomized(
    how: &Randomized,
    data_type: &DataType,
    misfit: &dyn Fn(&str, &str) -> Diagnostic,
) -> Result<Randomized, Diagnostic> {
    match how {
        Randomized::Replaced { percent, by } => {
            let share = Exact::parse(percent).filter(|n| n.is_positive());
            let fits = share.is_some_and(|n| {
                n.compare(Exact::of_int(100)).is_some_and(std::cmp::Ordering::is_le)
                    && n.times_power_of_ten(6).is_some_and(|n| n.whole().is_some())
            });
            if !fits {
                let message = format!("`{percent}` is no percentage of values");
                let help = "write a number above 0 and at most 100, with at most six digits behind the point";
                return Err(Diagnostic::error("policy::percentage", message).help(help));
            }
            let by = by.iter().map(|value| {
                let fitted = if *value == Value::Null { None } else { constant(value, data_type) };
                fitted.ok_or_else(|| misfit(&format!("the value {value}"), "all values must be of the column's type"))
            });
            Ok(Randomized::Replaced { percent: percent.clone(), by: by.collect::<Result<_, _>>()? })
        }
        Randomized::Within(most) => {
            if data_type.class() != TypeClass::Number {
                return Err(misfit("moving by a number", "it masks numbers only; dates and timestamps move by days"));
            }
            if Exact::parse(most).is_some_and(|most| holds(most, data_type)) {
                return Ok(how.clone());
            }
            Err(misfit(
                &format!("moving by at most {most}"),
                "the distance must be one that the column's type can hold",
            ))
        }
        Randomized::WithinDays(_) => match data_type.class() {
            TypeClass::Date | TypeClass::Timestamp => Ok(how.clone()),
            TypeClass::Boolean
            | TypeClass::Number
            | TypeClass::Text
            | TypeClass::Binary
            | TypeClass::Time
            | TypeClass::Nested => Err(misfit("moving by days", "it masks dates and timestamps only")),
        },
    }
}

/// What the column's profile tells to round to.
fn by_profile(
    column: &Column,
    source: &DataSource,
    misfit: &dyn Fn(&str, &str) -> Diagnostic,
) -> Result<RoundTo, Diagnostic> {
    match column.data_type.class() {
        TypeClass::Number | TypeClass::Date | TypeClass::Timestamp => {}
        TypeClass::Boolean | TypeClass::Text | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => {
            return Err(misfit("rounding", "rounding masks numbers, dates and timestamps only"));
        }
    }
    let told = column.profile.as_ref().map(|profile| bucket(profile, &column.data_type));
    let why = match told {
        Some(Some(to)) => return Ok(to),
        Some(None) => "had no value to go by when it was looked at",
        None => "has no profile yet",
    };
    let message = format!("column `{}` of `{}` {why}", column.name, source.name);
    let help = format!("look at its rows with `weir source profile {}`, or say what to round to", source.name);
    Err(Diagnostic::error("policy::no-profile", message).help(help))
}

pub(super) fn round(
    to: &RoundTo,
    data_type: &DataType,
    misfit: &dyn Fn(&str, &str) -> Diagnostic,
) -> Result<RoundTo, Diagnostic> {
    match to {
        RoundTo::Number(text) => {
            let Some(bucket) = Exact::parse(text).filter(|n| n.is_positive()) else {
                let message = format!("`{text}` is not a number to round to");
                return Err(Diagnostic::error("policy::round-to", message)
                    .help("round to a positive number such as 100 or 0.25"));
            };
            if holds(bucket, data_type) {
                return Ok(to.clone());
            }
            let help = match data_type.class() {
                TypeClass::Number => "round to a number that the column's type can hold",
                TypeClass::Date | TypeClass::Timestamp => "round to a calendar unit such as month",
                TypeClass::Boolean | TypeClass::Text | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => {
                    "rounding masks numbers, dates and timestamps only"
                }
            };
            Err(misfit(&format!("rounding to {text}"), help))
        }
        RoundTo::Calendar(unit) => match (data_type.class(), unit) {
            (TypeClass::Timestamp, _) => Ok(to.clone()),
            (
                TypeClass::Date,
                CalendarUnit::Day
                | CalendarUnit::Week
                | CalendarUnit::Month
                | CalendarUnit::Quarter
                | CalendarUnit::Year,
            ) => Ok(to.clone()),
            (TypeClass::Date, CalendarUnit::Hour) => {
                Err(misfit("rounding to hour", "a date has no hours; round to day or longer"))
            }
            (
                TypeClass::Boolean
                | TypeClass::Number
                | TypeClass::Text
                | TypeClass::Binary
                | TypeClass::Time
                | TypeClass::Nested,
                unit,
            ) => {
                let what = format!("rounding to {}", unit.as_str());
                Err(misfit(&what, "calendar units round dates and timestamps only"))
            }
        },
    }
}

/// Whether a step or a distance is one of the type.
fn holds(number: Exact, data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::Decimal { precision, scale } => number.fits_decimal(*precision, *scale),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Boolean
        | DataType::Text
        | DataType::Binary
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp { .. }
        | DataType::List(_)
        | DataType::Struct(_)
        | DataType::Map { .. } => {
            whole_range(data_type).is_some_and(|(_, most)| number.whole().is_some_and(|n| n <= most))
        }
    }
}

/// Every `$1`, `${1}` and `${name}` must be a group of the pattern: the engine would put nothing in its place.
fn check_replacement(regex: &Regex, replacement: &str) -> Result<(), Diagnostic> {
    let wrong = |message: String, help: String| Err(Diagnostic::error("policy::replacement", message).help(help));
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        check_backslash(before)?;
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, after)) => (name, after),
                None => {
                    return wrong(
                        format!("`${{` in `{replacement}` has no `}}`"),
                        "write `$$` for a dollar sign".to_owned(),
                    );
                }
            },
            None => after.split_at(after.find(|c| !word(c)).unwrap_or(after.len())),
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|known| known == name),
        };
        if name.is_empty() {
            return wrong(format!("`$` in `{replacement}` names no group"), "write `$$` for a dollar sign".to_owned());
        }
        if !known {
            let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
            let help = if !digits.is_empty() && digits.len() < name.len() {
                format!("write `${{{digits}}}` to end the number there")
            } else {
                match regex.captures_len() - 1 {
                    0 => "the pattern has no group in parentheses".to_owned(),
                    1 => "the pattern has one group, `${1}`".to_owned(),
                    n => format!("the pattern has {n} groups, `${{1}}` to `${{{n}}}`"),
                }
            };
            return wrong(format!("`${name}` in `{replacement}` is no group of the pattern"), help);
        }
        rest = after;
    }
    check_backslash(rest)
}

/// Other engines read `\1` as a group; here it would be text, which is not what its author meant.
fn check_backslash(text: &str) -> Result<(), Diagnostic> {
    let digit = text.split('\\').skip(1).find_map(|after| after.chars().next().filter(char::is_ascii_digit));
    match digit {
        None => Ok(()),
        Some(digit) => Err(Diagnostic::error("policy::replacement", format!("`\\{digit}` does not name a group"))
            .help(format!("write `${{{digit}}}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_name_groups_that_are_there() {
        let regex = Regex::new(r"(\d)(?<tail>.*)").unwrap();
        let ok = |r: &str| check_replacement(&regex, r).is_ok();
        for right in ["", "x", "$1", "${1}y", "${tail}-$tail", "$$5", "$0", "a\\b"] {
            assert!(ok(right), "{right}");
        }
        for wrong in ["$3", "$1y", "${x}", "${1", "5$", "$ 1", "\\1"] {
            assert!(!ok(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_closer_than_any_tag_and_a_deep_tag_than_a_shallow_one() {
        assert!(Closeness::Named > Closeness::Tagged(9));
        assert!(Closeness::Tagged(2) > Closeness::Tagged(1));
        assert!(Closeness::Tagged(1) > Closeness::NamedLike);
        assert!(Closeness::NamedLike > Closeness::Broad);
    }
}
