//! Conditions for row filters and for masks.

use weir_model::{Column, DataSource, DataType, Value};
use weir_policy::ast::{ColumnRef, LookupQuery, Predicate, UserCall};
use weir_policy::language::parse_predicate;
use weir_policy::{Compare, Function};

use super::policy::Author;
use crate::cell::{Cell, decimal_text};
use crate::nested::{self, singles};

/// A source whose columns a condition may name, and how.
#[derive(Clone)]
pub(super) struct Frame<'a> {
    pub(super) source: &'a DataSource,
    pub(super) qualifier: Option<String>,
}

impl Frame<'_> {
    fn column(&self, column: &Column) -> Predicate {
        Predicate::Column(ColumnRef { qualifier: self.qualifier.clone(), name: column.name.clone() }.into())
    }
}

const ORDERED: [Compare; 6] =
    [Compare::Equal, Compare::NotEqual, Compare::Less, Compare::LessOrEqual, Compare::Greater, Compare::GreaterOrEqual];

pub(super) fn text(text: &str) -> Predicate {
    Predicate::Literal(Value::Text(text.to_owned()))
}

fn int(n: i64) -> Predicate {
    Predicate::Literal(Value::Int(n))
}

/// A literal of the policy language for a value.
pub(super) fn literal(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(b) => Value::Boolean(*b),
        Cell::Int(n) => Value::Int(*n),
        Cell::Float(n) => Value::Number(format!("{n:?}")),
        Cell::Decimal { unscaled, scale } => Value::Number(decimal_text(*unscaled, *scale)),
        Cell::Text(t) => Value::Text(t.clone()),
        Cell::Date(d) => Value::Date(*d),
        Cell::Timestamp(us) => Value::Timestamp(*us),
        Cell::List(_) | Cell::Struct(_) => panic!("there is no literal of {cell}"),
    }
}

impl<'a> Author<'a> {
    /// A condition over the columns of `frame`; `outer` is the governed source when `frame` is not.
    pub(super) fn predicate(&mut self, frame: &Frame<'a>, depth: usize) -> Predicate {
        if depth == 0 || self.dice.chance(45) {
            return self.atom(frame);
        }
        match self.dice.below(6) {
            5 => self.grants(frame),
            0 => Predicate::And(self.predicates(frame, depth - 1)),
            1 => Predicate::Or(self.predicates(frame, depth - 1)),
            2 => Predicate::Not(Box::new(self.predicate(frame, depth - 1))),
            _ if !self.asks => self.atom(frame),
            _ => self.lookup(frame, depth - 1).unwrap_or_else(|| self.atom(frame)),
        }
    }

    /// One of many values of a column, each with conditions of its own: what a long list of grants looks like.
    fn grants(&mut self, frame: &Frame<'a>) -> Predicate {
        let columns = singles(frame.source);
        let (first, second) = (*self.dice.pick(&columns), *self.dice.pick(&columns));
        let two = self.dice.chance(40);
        let arm = |author: &mut Self| {
            let mut equal = |column: &Column| {
                let right = Box::new(author.literal_of(frame.source, column));
                Predicate::Compare { op: Compare::Equal, left: Box::new(frame.column(column)), right }
            };
            let mut conjuncts = vec![equal(first)];
            if two {
                conjuncts.push(equal(second));
            }
            if author.dice.chance(50) {
                conjuncts.push(author.atom(frame));
            }
            if conjuncts.len() == 1 { conjuncts.remove(0) } else { Predicate::And(conjuncts) }
        };
        Predicate::Or((0..self.dice.between(6, 16)).map(|_| arm(self)).collect())
    }

    /// Literals of a column, now and then many of them.
    fn literals(&mut self, source: &DataSource, column: &Column) -> Vec<Predicate> {
        let mut list: Vec<Predicate> = (0..self.dice.between(1, 4)).map(|_| self.literal_of(source, column)).collect();
        if self.dice.chance(15) {
            list.extend((0..40).filter_map(|n| match column.data_type {
                DataType::Text => Some(text(&format!("v{n}"))),
                DataType::Int32 | DataType::Int64 => Some(int(1_000 + n)),
                _ => None,
            }));
        }
        list
    }

    fn one_of(&mut self, texts: &[&str]) -> Predicate {
        text(texts[self.dice.below(texts.len())])
    }

    fn predicates(&mut self, frame: &Frame<'a>, depth: usize) -> Vec<Predicate> {
        (0..self.dice.between(2, 3)).map(|_| self.predicate(frame, depth)).collect()
    }

    fn atom(&mut self, frame: &Frame<'a>) -> Predicate {
        let column = *self.dice.pick(&singles(frame.source));
        let value = Box::new(self.called(frame, column));
        let negated = self.dice.chance(25);
        match (self.dice.below(10), &column.data_type) {
            (0, _) => Predicate::IsNull { value, negated },
            (_, DataType::Boolean) if self.dice.chance(50) => *value,
            (_, DataType::Text) => self.text_atom(frame, column, negated),
            (1 | 2, DataType::Int32 | DataType::Int64) if self.asks => self.user_call(column, *value),
            (1, DataType::Float64 | DataType::Decimal { .. } | DataType::Int32 | DataType::Int64) => {
                let floored = Predicate::Call { function: Function::RoundDown, args: vec![*value, int(2)] };
                let literal = self.literal_of(frame.source, column);
                self.compared(column, floored, literal)
            }
            (1 | 2, DataType::Date | DataType::Timestamp { .. }) => {
                let unit = self.one_of(&["week", "month", "quarter", "year", "day"]);
                let started = Predicate::Call { function: Function::RoundDown, args: vec![*value, unit] };
                let literal = self.literal_of(frame.source, column);
                self.compared(column, started, literal)
            }
            (7, _) => {
                let condition = self.comparison(frame);
                let (yes, no) = (self.literal_of(frame.source, column), self.literal_of(frame.source, column));
                let either = Predicate::Call { function: Function::If, args: vec![condition, *value, no] };
                self.compared(column, either, yes)
            }
            (3 | 4, _) => {
                let list = self.literals(frame.source, column);
                Predicate::In { value, list, negated }
            }
            (5, data_type) if *data_type != DataType::Boolean => {
                let (low, high) = (self.literal_of(frame.source, column), self.literal_of(frame.source, column));
                Predicate::Between { value, low: Box::new(low), high: Box::new(high), negated }
            }
            (6, _) => {
                let mut alike = singles(frame.source);
                alike.retain(|c| c.data_type == column.data_type);
                let other = *self.dice.pick(&alike);
                self.compared(column, *value, frame.column(other))
            }
            _ => {
                let literal = self.literal_of(frame.source, column);
                self.compared(column, *value, literal)
            }
        }
    }

    /// Any column with one of its literals.
    fn comparison(&mut self, frame: &Frame<'a>) -> Predicate {
        let column = *self.dice.pick(&singles(frame.source));
        let literal = self.literal_of(frame.source, column);
        self.compared(column, frame.column(column), literal)
    }

    fn compared(&mut self, column: &Column, left: Predicate, right: Predicate) -> Predicate {
        let ops = if column.data_type == DataType::Boolean { &ORDERED[..2] } else { &ORDERED[..] };
        Predicate::Compare { op: *self.dice.pick(ops), left: Box::new(left), right: Box::new(right) }
    }

    fn text_atom(&mut self, frame: &Frame<'a>, column: &Column, negated: bool) -> Predicate {
        let value = self.called(frame, column);
        let literal = self.literal_of(frame.source, column);
        let call = |function, args| Predicate::Call { function, args };
        match self.dice.below(16) {
            0 => Predicate::Like {
                value: Box::new(value),
                pattern: Box::new(self.one_of(&["%a%", "A%", "_", "%", "", "%'%", "a\\%b", "é%"])),
                case_insensitive: self.dice.chance(30),
                negated,
            },
            1 => call(Function::StartsWith, vec![value, self.one_of(&["A", "", "o'", "日", "st"])]),
            2 => {
                let lowered = call(*self.dice.pick(&[Function::Lower, Function::Upper]), vec![value]);
                let right = self.one_of(&["a", "A", "staff", "STAFF"]);
                self.compared(column, lowered, right)
            }
            3 => {
                let length = call(Function::Length, vec![value]);
                let right = int(i64::try_from(self.dice.below(6)).unwrap_or(0));
                self.compared(column, length, right)
            }
            4 => {
                let part = call(Function::Substring, vec![value, int(1), int(1)]);
                let right = self.one_of(&["A", "s", "é", "1"]);
                self.compared(column, part, right)
            }
            5 => self.compared(column, call(Function::Coalesce, vec![value, text("A")]), literal),
            6 if self.asks => {
                let name = self.dice.pick(&[UserCall::Username, UserCall::Username, UserCall::Iam]).clone();
                self.compared(column, value, Predicate::User(name.into()))
            }
            7 if self.asks => self.user_call(column, value),
            9 => {
                let count = i64::try_from(self.dice.below(4)).unwrap_or(0);
                let part = call(*self.dice.pick(&[Function::Left, Function::Right]), vec![value, int(count)]);
                let right = self.one_of(&["A", "st", "", "taf", "é", "89"]);
                self.compared(column, part, right)
            }
            10 => self.compared(column, call(Function::Trim, vec![value]), literal),
            12 if self.asks => Predicate::User(self.interpolated(value).into()),
            11 => {
                let joined = call(Function::Concat, vec![value, text("-"), literal]);
                let right = self.one_of(&["A-A", "staff-A", "-"]);
                self.compared(column, joined, right)
            }
            8 => {
                let list = self.literals(frame.source, column);
                Predicate::In { value: Box::new(value), list, negated }
            }
            _ => self.compared(column, value, literal),
        }
    }

    /// A column by what policies call it, when it is one of the governed source.
    fn called(&mut self, frame: &Frame<'a>, column: &Column) -> Predicate {
        let only_tag = column
            .tags
            .iter()
            .find(|tag| frame.source.places().flat_map(|c| &c.tags).filter(|t| tag.covers(t)).count() == 1);
        match (frame.qualifier.is_none(), self.dice.below(10), only_tag) {
            (true, 0, _) => Predicate::User(UserCall::ColumnReference(column.name.clone()).into()),
            (true, 1..=3, Some(tag)) => Predicate::User(UserCall::ColumnTagged(tag.clone()).into()),
            _ => frame.column(column),
        }
    }

    fn user_call(&mut self, column: &Column, value: Predicate) -> Predicate {
        let key = self.held_key();
        let placeholder = self.dice.chance(25).then(|| (*self.dice.pick(&["A", "staff", "1", "true", ""])).to_owned());
        // One that the column's type cannot hold would be refused.
        let placeholder = placeholder.filter(|placeholder| is_read_as(placeholder, &column.data_type));
        let call = match self.dice.below(12) {
            0 => UserCall::IsInGroups((0..self.dice.between(1, 2)).map(|_| self.held_group()).collect()),
            1 => {
                let (key, value) = self.held_value();
                UserCall::HasAttribute(key, value)
            }
            2 => UserCall::PurposesContains(Box::new(value), placeholder),
            3 if !self.facts.projects.is_empty() => UserCall::IsUsingPurpose(self.purpose()),
            4..=6 => UserCall::GroupsContains(Box::new(value), placeholder),
            _ => UserCall::AttributeValuesContains(key, Box::new(value), placeholder),
        };
        Predicate::User(call.into())
    }

    /// A comparison of a text with one that is made for the person.
    fn interpolated(&mut self, value: Predicate) -> UserCall {
        let key = self.held_key();
        let forms = ["{username}", "{group}", "{purpose}", "{iam}/{username}", "s{{{group}", "{group}{group}"];
        let text = match self.dice.below(forms.len() + 4) {
            0 => format!("{{attribute:{key}}}"),
            1 => format!("A{{attribute:{key}}}"),
            2 => format!("{{attribute:{key}}}, {{username}}"),
            3 => format!("{{attribute:{key}}}-{{attribute:{key}}}"),
            form => forms[form - 4].to_owned(),
        };
        let op = *self.dice.pick(&ORDERED);
        let call = format!("@interpolatedComparison(c, '{}', {})", op.as_str(), Value::Text(text));
        match parse_predicate(&call) {
            Ok(Predicate::User(call)) => match call.node {
                UserCall::InterpolatedComparison { text, .. } => {
                    UserCall::InterpolatedComparison { value: Box::new(value), op, text }
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{call}: {other:?}"),
        }
    }

    /// A condition on another source, tied to `frame` by a column of the same type.
    fn lookup(&mut self, frame: &Frame<'a>, depth: usize) -> Option<Predicate> {
        let (facts, outer_source) = (self.facts, frame.source);
        let others: Vec<&DataSource> = facts.sources.iter().filter(|s| s.id != outer_source.id).collect();
        let pairs: Vec<(&DataSource, &Column, &Column)> = others
            .iter()
            .flat_map(|s| singles(s).into_iter().map(move |inner| (*s, inner)))
            .flat_map(|(s, inner)| singles(outer_source).into_iter().map(move |outer| (s, inner, outer)))
            .filter(|(_, inner, outer)| inner.data_type == outer.data_type)
            .filter(|(_, inner, _)| !matches!(inner.data_type, DataType::Boolean | DataType::Float64))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let (source, inner_key, outer_key) = *self.dice.pick(&pairs);
        self.aliases += 1;
        let alias = format!("l{}", self.aliases);
        let inner = Frame { source, qualifier: Some(alias.clone()) };
        // From within the lookup the governed row is called by its full name.
        let outer = Frame {
            qualifier: frame.qualifier.clone().or_else(|| Some(outer_source.name.to_string())),
            ..frame.clone()
        };
        let negated = self.dice.chance(20);
        // Lookups within lookups are few: the oracle walks all rows for each.
        let depth = if self.dice.chance(20) { depth } else { 0 };
        let filter = self.dice.chance(70).then(|| self.predicate(&inner, depth));
        let query =
            |key, filter| Box::new(LookupQuery { source: source.name.clone().into(), alias: Some(alias), key, filter });
        if self.dice.chance(50) {
            let lookup = query(Some(inner.column(inner_key)), filter);
            return Some(Predicate::InLookup { value: Box::new(frame.column(outer_key)), lookup, negated });
        }
        let tie = Predicate::Compare {
            op: Compare::Equal,
            left: Box::new(inner.column(inner_key)),
            right: Box::new(outer.column(outer_key)),
        };
        let filter = match filter {
            Some(Predicate::And(mut list)) => {
                list.push(tie);
                Predicate::And(list)
            }
            Some(other) => Predicate::And(vec![other, tie]),
            None => tie,
        };
        Some(Predicate::Exists { lookup: query(None, Some(filter)), negated })
    }

    /// A literal that is often in the column.
    fn literal_of(&mut self, source: &DataSource, column: &Column) -> Predicate {
        let rows = self.tables[&source.id].iter();
        let values = rows.map(|row| nested::cell(source, row, column.id).expect("a column of the source"));
        let values: Vec<&Cell> = values.filter(|cell| !cell.is_null()).collect();
        if values.is_empty() {
            return Predicate::Literal(some_value(&column.data_type));
        }
        let value = *self.dice.pick(&values);
        Predicate::Literal(literal(value))
    }
}

/// Whether a policy may have the text as a placeholder of the type.
fn is_read_as(text: &str, data_type: &DataType) -> bool {
    match data_type {
        DataType::Text => true,
        DataType::Int32 | DataType::Int64 => text.parse::<i32>().is_ok(),
        _ => false,
    }
}

/// A literal of the type, whatever the data.
pub(super) fn some_value(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => Value::Boolean(true),
        DataType::Int32 | DataType::Int64 => Value::Int(1),
        DataType::Float64 | DataType::Decimal { .. } => Value::Number("0.25".to_owned()),
        DataType::Text => Value::Text("A".to_owned()),
        DataType::Date => Value::Date(0),
        DataType::Timestamp { .. } => Value::Timestamp(0),
        other => panic!("no columns of type {other} are made"),
    }
}
