//! Conditions over the original values of a row, with SQL's three-valued truth: true, false and NULL are cells. Not as
//! in SQL, a lookup is NULL whenever what it looks for is NULL, and passes over rows whose key is NULL.

mod reads;

use std::cmp::Ordering;

use chrono::{NaiveDate, NaiveDateTime};
use weir_model::{Column, ColumnName, DataSource, DataType, Value};
use weir_policy::ast::{
    AnyOf, CalendarUnit, ColumnRef, LookupQuery, Match, MatchColumn, Piece, Predicate, RoundTo, RowCondition, Template,
    UserCall,
};
use weir_policy::{Compare, Function};

use super::mask::{rounded, row_key};
use super::{Misfit, View};
use crate::cell::{Cell, Row, decimal_text, parse_decimal};
use crate::nested;

/// The rows that a condition can name columns of, the innermost last, and the column that a custom function masks.
#[derive(Clone)]
pub(super) struct Scope<'a>(Vec<Named<'a>>, Option<&'a ColumnName>);

#[derive(Clone)]
struct Named<'a> {
    source: &'a DataSource,
    alias: Option<&'a str>,
    row: &'a Row,
}

impl Named<'_> {
    fn find(&self, wanted: &ColumnRef) -> Option<&Column> {
        let Some(qualifier) = &wanted.qualifier else { return self.source.place(wanted.name.as_str()) };
        let full = self.source.name.to_string();
        let mut called = match self.alias {
            Some(alias) => vec![alias],
            None => vec![full.as_str(), self.source.name.table()],
        };
        // What is inside of a column, with nothing before it.
        called.push("");
        let written = format!(".{qualifier}.{}", wanted.name);
        let inside = |called: &str| {
            let before = if called.is_empty() { ".".to_owned() } else { format!(".{called}.") };
            let place = self.source.place(written.strip_prefix(&before)?)?;
            (!called.is_empty() || self.source.part(place.id).is_some()).then_some(place)
        };
        called.into_iter().find_map(inside)
    }
}

impl Named<'_> {
    fn value(&self, column: &Column) -> Result<(Cell, DataType), Misfit> {
        let cell = nested::cell(self.source, self.row, column.id).ok_or(Misfit::Broken)?;
        Ok((cell.clone(), column.data_type.clone()))
    }
}

impl<'a> Scope<'a> {
    pub(super) fn row(source: &'a DataSource, row: &'a Row) -> Self {
        Scope(vec![Named { source, alias: None, row }], None)
    }

    /// As [`Self::row`], where `@column` is the value in the column.
    pub(super) fn masking(source: &'a DataSource, row: &'a Row, column: &'a Column) -> Self {
        Scope(vec![Named { source, alias: None, row }], Some(&column.name))
    }

    fn within(&self, source: &'a DataSource, alias: Option<&'a str>, row: &'a Row) -> Self {
        let mut inner = self.clone();
        inner.0.push(Named { source, alias, row });
        inner
    }

    fn column(&self, wanted: &ColumnRef) -> Result<(Cell, DataType), Misfit> {
        let found = self.0.iter().rev().find_map(|named| Some((named, named.find(wanted)?)));
        let (named, column) = found.ok_or_else(|| self.missing())?;
        named.value(column)
    }

    fn has(&self, wanted: &ColumnRef) -> bool {
        self.0.iter().any(|named| named.find(wanted).is_some())
    }

    /// The one column of the governed source for which `is` holds.
    fn only(&self, is: impl Fn(&weir_model::Column) -> bool) -> Result<(Cell, DataType), Misfit> {
        let outer = self.0.first().ok_or(Misfit::Broken)?;
        let places: Vec<&Column> = outer.source.places().filter(|place| is(place)).collect();
        match places.as_slice() {
            [place] => outer.value(place),
            [] => Err(Misfit::Absent),
            _ => Err(Misfit::Broken),
        }
    }

    /// What the governed source lacks may be a reason to pass it over; what a lookup lacks never is.
    fn missing(&self) -> Misfit {
        if self.0.len() == 1 { Misfit::Absent } else { Misfit::Broken }
    }
}

pub(crate) fn truth(known: Option<bool>) -> Cell {
    known.map_or(Cell::Null, Cell::Boolean)
}

pub(crate) fn known(cell: &Cell) -> Result<Option<bool>, Misfit> {
    match cell {
        Cell::Boolean(b) => Ok(Some(*b)),
        Cell::Null => Ok(None),
        _ => Err(Misfit::Broken),
    }
}

pub(crate) fn not(cell: &Cell) -> Result<Cell, Misfit> {
    Ok(truth(known(cell)?.map(|b| !b)))
}

impl View<'_> {
    pub(super) fn shows_row(&self, condition: &RowCondition, row: &Row) -> Result<bool, Misfit> {
        let scope = Scope::row(self.source, row);
        let shown = match condition {
            RowCondition::Match { user, column } => {
                let (cell, data_type) = match column {
                    MatchColumn::Named(name) => scope.only(|c| c.name == name.node)?,
                    MatchColumn::Tagged(tag) => scope.only(|c| c.tags.iter().any(|t| tag.node.covers(t)))?,
                };
                match user {
                    Match::Group => equals_one(&cell, &data_type, &self.groups()),
                    Match::Attribute(key) => equals_one(&cell, &data_type, &self.me.attribute(key.node.as_str())),
                    Match::Purpose => equals_one(&cell, &data_type, &self.me.purposes()),
                }
            }
            RowCondition::Where(predicate) => self.value(predicate, &scope)?,
            RowCondition::Time(window) => truth(self.is_within(*window, row)?),
            RowCondition::Sample(percent) => {
                let key = row_key(self.source, &self.source.row_key, row)?;
                Cell::Boolean(self.masking()?.samples(ten_thousandths(&percent.node)?, &key))
            }
        };
        Ok(shown == Cell::Boolean(true))
    }

    fn groups(&self) -> Vec<String> {
        self.me.groups.iter().map(|g| g.as_str().to_owned()).collect()
    }

    pub(super) fn value(&self, predicate: &Predicate, scope: &Scope<'_>) -> Result<Cell, Misfit> {
        let value = |p: &Predicate| self.value(p, scope);
        let maybe_not = |cell: Cell, negated: bool| if negated { not(&cell) } else { Ok(cell) };
        match predicate {
            Predicate::Literal(literal) => Cell::literal(literal).ok_or(Misfit::Broken),
            Predicate::Column(column) => Ok(scope.column(&column.node)?.0),
            Predicate::Compare { op, left, right } => Ok(truth(compare(*op, &value(left)?, &value(right)?)?)),
            Predicate::Between { value: v, low, high, negated } => {
                let v = value(v)?;
                let above = truth(compare(Compare::GreaterOrEqual, &v, &value(low)?)?);
                let below = truth(compare(Compare::LessOrEqual, &v, &value(high)?)?);
                maybe_not(all([Ok(above), Ok(below)])?, *negated)
            }
            Predicate::In { value: v, list, negated } => {
                let list = list.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                maybe_not(is_in(&value(v)?, &list)?, *negated)
            }
            Predicate::InLookup { value: v, lookup, negated } => {
                let key = lookup.key.as_ref().ok_or(Misfit::Broken)?;
                let v = value(v)?;
                let keys: Vec<Cell> =
                    self.looked_up(lookup, key, scope)?.into_iter().filter(|k| !k.is_null()).collect();
                let found = is_in(&v, &keys)? == Cell::Boolean(true);
                maybe_not(truth((!v.is_null()).then_some(found)), *negated)
            }
            Predicate::Exists { lookup, negated } => {
                let one = Predicate::Literal(Value::Int(1));
                let found = !self.looked_up(lookup, &one, scope)?.is_empty();
                let tied = !self.ties(lookup, scope)?.iter().any(Cell::is_null);
                maybe_not(truth(tied.then_some(found)), *negated)
            }
            Predicate::Like { value: v, pattern, case_insensitive, negated } => {
                let matched = match (value(v)?, value(pattern)?) {
                    (Cell::Text(v), Cell::Text(p)) if *case_insensitive => {
                        Some(like(&v.to_lowercase(), &p.to_lowercase()))
                    }
                    (Cell::Text(v), Cell::Text(p)) => Some(like(&v, &p)),
                    (Cell::Null, _) | (_, Cell::Null) => None,
                    _ => return Err(Misfit::Broken),
                };
                maybe_not(truth(matched), *negated)
            }
            Predicate::IsNull { value: v, negated } => Ok(Cell::Boolean(value(v)?.is_null() != *negated)),
            Predicate::And(list) => all(list.iter().map(value)),
            Predicate::Or(list) => not(&all(list.iter().map(|p| not(&value(p)?)))?),
            Predicate::Not(inner) => not(&value(inner)?),
            Predicate::Call { function, args } => {
                call(*function, &args.iter().map(value).collect::<Result<Vec<_>, _>>()?)
            }
            Predicate::User(user) => self.asked(&user.node, scope),
        }
    }

    fn asked(&self, user: &UserCall, scope: &Scope<'_>) -> Result<Cell, Misfit> {
        Ok(match user {
            UserCall::Username => Cell::Text(self.me.name.clone()),
            UserCall::Iam => Cell::Text(self.me.iam.clone()),
            UserCall::IsInGroups(groups) => Cell::Boolean(groups.iter().all(|g| self.me.groups.contains(g))),
            UserCall::HasAttribute(key, value) => Cell::Boolean(self.me.has_attribute(key.as_str(), value)),
            UserCall::AttributeValuesContains(key, v, placeholder) => {
                self.is_one_of(v, &or(self.me.attribute(key.as_str()), placeholder), scope)?
            }
            UserCall::GroupsContains(v, placeholder) => self.is_one_of(v, &or(self.groups(), placeholder), scope)?,
            UserCall::PurposesContains(v, placeholder) => {
                self.is_one_of(v, &or(self.me.purposes(), placeholder), scope)?
            }
            UserCall::InterpolatedComparison { value, op, text } => {
                let value = self.value(value, scope)?;
                let compared = self.texts(text).into_iter().map(|text| {
                    let found = truth(compare(*op, &value, &Cell::Text(text))?);
                    not(&found)
                });
                // OR by De Morgan; false for nobody's texts.
                not(&all(compared)?)?
            }
            UserCall::IsUsingPurpose(purpose) => Cell::Boolean(self.acts_under(purpose)),
            UserCall::MaskedColumn => {
                let column = scope.1.ok_or(Misfit::Broken)?;
                scope.only(|c| c.name == *column)?.0
            }
            UserCall::ColumnTagged(tag) => scope.only(|c| c.tags.iter().any(|t| tag.covers(t)))?.0,
            UserCall::ColumnReference(name) => scope.only(|c| c.name == *name)?.0,
        })
    }

    /// The texts that she gives.
    fn texts(&self, template: &Template) -> Vec<String> {
        let several = match template.any_of() {
            None => vec![String::new()],
            Some(AnyOf::Group) => self.groups(),
            Some(AnyOf::Purpose) => self.me.purposes(),
            Some(AnyOf::Attribute(key)) => self.me.attribute(key.as_str()),
        };
        let fill = |one: String| {
            let mut text = String::new();
            for piece in template.pieces() {
                text.push_str(match piece {
                    Piece::Text(text) => text,
                    Piece::Username => &self.me.name,
                    Piece::Iam => &self.me.iam,
                    Piece::Any => &one,
                });
            }
            text
        };
        several.into_iter().map(fill).collect()
    }

    /// Whether what a policy compares with groups or attribute values is one of them.
    fn is_one_of(&self, value: &Predicate, texts: &[String], scope: &Scope<'_>) -> Result<Cell, Misfit> {
        let (cell, data_type) = match value {
            Predicate::Column(column) => scope.column(&column.node)?,
            Predicate::User(call) => match &call.node {
                UserCall::ColumnTagged(tag) => scope.only(|c| c.tags.iter().any(|t| tag.covers(t)))?,
                UserCall::ColumnReference(name) => scope.only(|c| c.name == *name)?,
                _ => (self.value(value, scope)?, DataType::Text),
            },
            _ => (self.value(value, scope)?, DataType::Text),
        };
        Ok(equals_one(&cell, &data_type, texts))
    }

    /// The values of the row outside to which the filter of an EXISTS ties rows of the lookup by equality.
    fn ties(&self, lookup: &LookupQuery, scope: &Scope<'_>) -> Result<Vec<Cell>, Misfit> {
        let source = self.facts.sources.iter().find(|s| s.name == lookup.source.node).ok_or(Misfit::Broken)?;
        let nothing = Vec::new();
        let inner = Scope(vec![Named { source, alias: lookup.alias.as_deref(), row: &nothing }], None);
        let conjuncts = match &lookup.filter {
            Some(Predicate::And(conjuncts)) => conjuncts.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let mut ties = Vec::new();
        for conjunct in conjuncts {
            let Predicate::Compare { op: Compare::Equal, left, right } = conjunct else { continue };
            for side in [left, right] {
                if let Predicate::Column(column) = &**side
                    && !inner.has(&column.node)
                {
                    ties.push(scope.column(&column.node)?.0);
                }
            }
        }
        Ok(ties)
    }

    /// The key of every row of another source that passes the filter.
    fn looked_up(&self, lookup: &LookupQuery, key: &Predicate, scope: &Scope<'_>) -> Result<Vec<Cell>, Misfit> {
        let source = self.facts.sources.iter().find(|s| s.name == lookup.source.node).ok_or(Misfit::Broken)?;
        let mut keys = Vec::new();
        for row in &self.tables[&source.id] {
            let inner = scope.within(source, lookup.alias.as_deref(), row);
            let passes = match &lookup.filter {
                Some(filter) => self.value(filter, &inner)? == Cell::Boolean(true),
                None => true,
            };
            if passes {
                keys.push(self.value(key, &inner)?);
            }
        }
        Ok(keys)
    }
}

/// What stands for the values of who has none.
fn or(values: Vec<String>, placeholder: &Option<String>) -> Vec<String> {
    if values.is_empty() { placeholder.iter().cloned().collect() } else { values }
}

/// AND: false if one is false, else NULL if one is NULL.
pub(crate) fn all(cells: impl IntoIterator<Item = Result<Cell, Misfit>>) -> Result<Cell, Misfit> {
    let mut result = Some(true);
    for cell in cells {
        match known(&cell?)? {
            Some(true) => {}
            Some(false) => result = Some(false),
            None if result == Some(false) => {}
            None => result = None,
        }
    }
    Ok(truth(result))
}

pub(crate) fn is_in(value: &Cell, list: &[Cell]) -> Result<Cell, Misfit> {
    let answers = list.iter().map(|item| compare(Compare::Equal, value, item)).collect::<Result<Vec<_>, _>>()?;
    Ok(if answers.contains(&Some(true)) {
        Cell::Boolean(true)
    } else {
        truth(if answers.contains(&None) { None } else { Some(false) })
    })
}

/// Whether the value equals one of the texts when they are read as its type; those that cannot be are left out.
pub(crate) fn equals_one(value: &Cell, data_type: &DataType, texts: &[String]) -> Cell {
    is_in(value, &texts.iter().filter_map(|text| read(text, data_type)).collect::<Vec<_>>()).unwrap_or(Cell::Null)
}

fn read(text: &str, data_type: &DataType) -> Option<Cell> {
    Some(match data_type {
        DataType::Text => Cell::Text(text.to_owned()),
        DataType::Boolean => Cell::Boolean(text.parse().ok()?),
        DataType::Int32 => Cell::Int(text.parse::<i32>().ok()?.into()),
        DataType::Int64 => Cell::Int(text.parse().ok()?),
        DataType::Float64 => Cell::Float(text.parse().ok()?),
        DataType::Decimal { .. } => {
            let (unscaled, scale) = parse_decimal(text)?;
            Cell::Decimal { unscaled, scale }
        }
        DataType::Date => {
            Cell::Date(i32::try_from((text.parse::<NaiveDate>().ok()? - NaiveDate::default()).num_days()).ok()?)
        }
        DataType::Timestamp { zoned: false } => {
            let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
            Cell::Timestamp(at.and_utc().timestamp_micros())
        }
        _ => return None,
    })
}

pub(crate) fn compare(op: Compare, left: &Cell, right: &Cell) -> Result<Option<bool>, Misfit> {
    let Some(order) = order(left, right)? else { return Ok(None) };
    Ok(Some(match op {
        Compare::Equal => order.is_eq(),
        Compare::NotEqual => order.is_ne(),
        Compare::Less => order.is_lt(),
        Compare::LessOrEqual => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::GreaterOrEqual => order.is_ge(),
    }))
}

/// `None` when one of them is NULL.
fn order(left: &Cell, right: &Cell) -> Result<Option<Ordering>, Misfit> {
    Ok(match (left, right) {
        (Cell::Null, _) | (_, Cell::Null) => None,
        (Cell::Boolean(l), Cell::Boolean(r)) => Some(l.cmp(r)),
        (Cell::Text(l), Cell::Text(r)) => Some(l.as_bytes().cmp(r.as_bytes())),
        (Cell::Date(l), Cell::Date(r)) => Some(l.cmp(r)),
        (Cell::Timestamp(l), Cell::Timestamp(r)) => Some(l.cmp(r)),
        (Cell::Date(l), Cell::Timestamp(r)) => Some((i64::from(*l) * 86_400_000_000).cmp(r)),
        (Cell::Timestamp(l), Cell::Date(r)) => Some(l.cmp(&(i64::from(*r) * 86_400_000_000))),
        // A literal takes the type of the column.
        (Cell::Date(_), Cell::Text(text)) => order(left, &read(text, &DataType::Date).ok_or(Misfit::Broken)?)?,
        (Cell::Text(text), Cell::Date(_)) => order(&read(text, &DataType::Date).ok_or(Misfit::Broken)?, right)?,
        (Cell::Float(_), _) | (_, Cell::Float(_)) => float(left)?.partial_cmp(&float(right)?),
        _ => {
            let ((l, l_scale), (r, r_scale)) = (exact(left)?, exact(right)?);
            let common = l_scale.max(r_scale);
            Some((l * 10_i128.pow(common - l_scale)).cmp(&(r * 10_i128.pow(common - r_scale))))
        }
    })
}

fn exact(cell: &Cell) -> Result<(i128, u32), Misfit> {
    match cell {
        Cell::Int(n) => Ok((i128::from(*n), 0)),
        Cell::Decimal { unscaled, scale } => Ok((*unscaled, *scale)),
        _ => Err(Misfit::Broken),
    }
}

fn float(cell: &Cell) -> Result<f64, Misfit> {
    match cell {
        Cell::Float(n) => Ok(*n),
        Cell::Int(n) => Ok(*n as f64),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale).parse().map_err(|_| Misfit::Broken),
        _ => Err(Misfit::Broken),
    }
}

/// `%` is any text, `_` one character, a backslash takes the next character as it is.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    fn at(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|skip| at(&text[skip..], rest)),
            ['_', rest @ ..] => !text.is_empty() && at(&text[1..], rest),
            ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && at(&text[1..], rest),
        }
    }
    at(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
}

/// Ten-thousandths of the whole.
fn ten_thousandths(percent: &str) -> Result<u16, Misfit> {
    let (digits, scale) = parse_decimal(percent).ok_or(Misfit::Broken)?;
    u16::try_from(digits * 100 / 10_i128.pow(scale)).map_err(|_| Misfit::Broken)
}

pub(crate) fn call(function: Function, args: &[Cell]) -> Result<Cell, Misfit> {
    match (function, args) {
        (Function::Coalesce, _) => return Ok(args.iter().find(|a| !a.is_null()).cloned().unwrap_or(Cell::Null)),
        (Function::If, [condition, yes, no]) => {
            return Ok(if known(condition)? == Some(true) { yes.clone() } else { no.clone() });
        }
        _ => {}
    }
    if args.iter().any(Cell::is_null) {
        return Ok(Cell::Null);
    }
    match (function, args) {
        (Function::Lower, [Cell::Text(t)]) => Ok(Cell::Text(t.to_lowercase())),
        (Function::Upper, [Cell::Text(t)]) => Ok(Cell::Text(t.to_uppercase())),
        (Function::Length, [Cell::Text(t)]) => {
            Ok(Cell::Int(i64::try_from(t.chars().count()).map_err(|_| Misfit::Broken)?))
        }
        (Function::StartsWith, [Cell::Text(t), Cell::Text(start)]) => Ok(Cell::Boolean(t.starts_with(start))),
        (Function::Substring, [Cell::Text(t), Cell::Int(start), Cell::Int(count)]) => {
            let start = usize::try_from(start - 1).map_err(|_| Misfit::Broken)?;
            let count = usize::try_from(*count).map_err(|_| Misfit::Broken)?;
            Ok(Cell::Text(t.chars().skip(start).take(count).collect()))
        }
        (Function::Concat, texts) => {
            let texts = texts.iter().map(|t| if let Cell::Text(t) = t { Ok(t.as_str()) } else { Err(Misfit::Broken) });
            Ok(Cell::Text(texts.collect::<Result<String, _>>()?))
        }
        (Function::Left, [Cell::Text(t), Cell::Int(count)]) => {
            let count = usize::try_from(*count).map_err(|_| Misfit::Broken)?;
            Ok(Cell::Text(t.chars().take(count).collect()))
        }
        (Function::Right, [Cell::Text(t), Cell::Int(count)]) => {
            let count = usize::try_from(*count).map_err(|_| Misfit::Broken)?;
            let skipped = t.chars().count().saturating_sub(count);
            Ok(Cell::Text(t.chars().skip(skipped).collect()))
        }
        (Function::Trim, [Cell::Text(t)]) => Ok(Cell::Text(t.trim_matches(' ').to_owned())),
        (Function::RoundDown, [value, step]) => {
            let to = match step {
                Cell::Text(unit) => {
                    RoundTo::Calendar(CalendarUnit::ALL.into_iter().find(|u| u.as_str() == unit).ok_or(Misfit::Broken)?)
                }
                Cell::Int(n) => RoundTo::Number(n.to_string()),
                Cell::Decimal { unscaled, scale } => RoundTo::Number(decimal_text(*unscaled, *scale)),
                _ => return Err(Misfit::Broken),
            };
            rounded(value, &to, &DataType::Int64)
        }
        _ => Err(Misfit::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_wildcards() {
        for (text, pattern, expected) in [
            ("abc", "a%", true),
            ("abc", "_b_", true),
            ("abc", "ab", false),
            ("", "%", true),
            ("", "_", false),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("日本", "__", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn in_is_three_valued() {
        let (one, two) = (Cell::Int(1), Cell::Int(2));
        assert_eq!(is_in(&one, &[Cell::Null, one.clone()]), Ok(Cell::Boolean(true)));
        assert_eq!(is_in(&one, &[Cell::Null, two.clone()]), Ok(Cell::Null));
        assert_eq!(is_in(&Cell::Null, &[]), Ok(Cell::Boolean(false)));
        assert_eq!(is_in(&Cell::Null, &[two]), Ok(Cell::Null));
    }

    #[test]
    fn numbers_compare_by_value() {
        let half = Cell::Decimal { unscaled: 50, scale: 2 };
        assert_eq!(compare(Compare::Less, &half, &Cell::Int(1)), Ok(Some(true)));
        assert_eq!(compare(Compare::Equal, &half, &Cell::Float(0.5)), Ok(Some(true)));
    }
}
