//! Custom conditions bound to columns and typed.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is no literal takes the general way")]

use std::sync::Arc;

use weir_model::{Column, DataSource, DataType, TypeClass, Value};

use super::{Absence, Catalog, Misfit, literal, lookup_source, mask, one_value, placed, tagged_column};
use crate::ast::{At, CalendarUnit, ColumnRef, LookupQuery, Predicate, RoundTo, UserCall};
use crate::diagnostic::{Diagnostic, Span};
use crate::expr::{Compare, Expr, Function, Lookup, LookupKey, UserTerm};

/// How deep conditions and lookups may nest.
const DEPTH_MAX: usize = 100;
const LOOKUP_DEPTH_MAX: usize = 4;

pub(super) const TYPE_MISMATCH: &str = "policy::type-mismatch";

type Bound = Expr<UserTerm>;

/// The predicate as a condition on the rows of `source`.
pub(super) fn truth(predicate: &Predicate, source: &DataSource, catalog: &Catalog<'_>) -> Result<Bound, Misfit> {
    let scope = Scope { source, alias: None, outer: None, catalog, masked: None };
    scope.boolean(predicate, 0).map(|typed| typed.expr).map_err(|misfit| of_source(misfit, source))
}

/// The expression, in which `@column` is the value of `column`, as one of its type.
pub(super) fn value_for(
    expression: &Predicate,
    column: &Column,
    source: &DataSource,
    catalog: &Catalog<'_>,
) -> Result<Bound, Misfit> {
    let scope = Scope { source, alias: None, outer: None, catalog, masked: Some(column) };
    let typed = scope.bind(expression, 0).map_err(|misfit| of_source(misfit, source))?;
    let kind = typed.kind();
    of_type(typed, &column.data_type).map(|typed| typed.expr).ok_or_else(|| {
        let message = format!(
            "the custom function gives {kind}, and column `{}` of `{}` is {}",
            column.name, source.name, column.data_type
        );
        let diagnostic = Diagnostic::error(super::mask::MASK_TYPE, message);
        Misfit::Wrong(placed(diagnostic.help("it must give a value of the column's type"), place(expression)))
    })
}

fn of_source(misfit: Misfit, source: &DataSource) -> Misfit {
    match misfit {
        Misfit::Wrong(mut diagnostic) if diagnostic.code == TYPE_MISMATCH => {
            diagnostic.message = format!("in `{}`: {}", source.name, diagnostic.message);
            Misfit::Wrong(diagnostic)
        }
        misfit => misfit,
    }
}

/// The expression when it is of the type; a literal takes it when the type holds exactly that.
fn of_type(typed: Typed, wanted: &DataType) -> Option<Typed> {
    match (typed.literal(), &typed.data_type) {
        (Some(Value::Null), _) => Some(Typed { data_type: Some(wanted.clone()), ..typed }),
        (Some(value), None) => {
            let expr = Expr::Literal(literal::constant(value, wanted)?);
            Some(Typed { expr, data_type: Some(wanted.clone()), rows: 0 })
        }
        (_, Some(data_type)) => (data_type == wanted).then_some(typed),
        (None, None) => None,
    }
}

/// The rows that names can mean: those of the governed source outermost, of lookups inside.
struct Scope<'a> {
    source: &'a DataSource,
    alias: Option<&'a str>,
    outer: Option<&'a Scope<'a>>,
    catalog: &'a Catalog<'a>,
    /// What `@column` is; only in custom functions.
    masked: Option<&'a Column>,
}

/// An expression with what it is and which rows it speaks of.
struct Typed {
    expr: Bound,
    /// Absent for a literal, which takes the type of what it meets.
    data_type: Option<DataType>,
    /// Bit `n` is set when a column of the scope at depth `n` is used; the governed source is at 0.
    rows: u8,
}

impl Typed {
    fn boolean(expr: Bound, rows: u8) -> Self {
        Self { expr, data_type: Some(DataType::Boolean), rows }
    }

    fn literal(&self) -> Option<&Value> {
        match &self.expr {
            Expr::Literal(value) => Some(value),
            _ => None,
        }
    }

    fn class(&self) -> Option<TypeClass> {
        match (&self.data_type, self.literal()) {
            (Some(data_type), _) => Some(data_type.class()),
            (None, Some(Value::Boolean(_))) => Some(TypeClass::Boolean),
            (None, Some(Value::Int(_) | Value::Number(_))) => Some(TypeClass::Number),
            (None, Some(Value::Text(_))) => Some(TypeClass::Text),
            (None, Some(Value::Date(_))) => Some(TypeClass::Date),
            (None, Some(Value::Timestamp(_))) => Some(TypeClass::Timestamp),
            (None, Some(Value::Null) | None) => None,
        }
    }

    /// For messages.
    fn kind(&self) -> String {
        match (&self.data_type, self.literal()) {
            (Some(data_type), _) => data_type.to_string(),
            (None, Some(value)) => format!("the literal {value}"),
            (None, None) => "a literal".to_owned(),
        }
    }
}

fn wrong(code: &'static str, message: impl Into<String>, span: Option<Span>) -> Misfit {
    Misfit::Wrong(placed(Diagnostic::error(code, message), span))
}

fn wrong_type(message: impl Into<String>, span: Option<Span>) -> Misfit {
    wrong(TYPE_MISMATCH, message, span)
}

impl<'a> Scope<'a> {
    fn depth(&self) -> usize {
        self.outer.map_or(0, |outer| outer.depth() + 1)
    }

    fn bit(&self) -> u8 {
        1 << self.depth()
    }

    fn outermost(&self) -> &Scope<'a> {
        self.outer.map_or(self, Scope::outermost)
    }

    fn column_here(&self, column: &Column) -> Typed {
        Typed { expr: Expr::Column(column.id), data_type: Some(column.data_type.clone()), rows: self.bit() }
    }

    fn is_called(&self, qualifier: &str) -> bool {
        match self.alias {
            Some(alias) => alias == qualifier,
            None => qualifier == self.source.name.table() || qualifier == self.source.name.to_string(),
        }
    }

    /// `address.city`, or `alias.address.city` and the like.
    fn part(&self, qualifier: &str, name: &str) -> Option<&'a Column> {
        let written = format!("{qualifier}.{name}");
        let full = self.source.name.to_string();
        let called = match self.alias {
            Some(alias) => vec![alias],
            None => vec![full.as_str(), self.source.name.table()],
        };
        let inside = called.into_iter().find_map(|called| written.strip_prefix(called)?.strip_prefix('.'));
        self.source.place(&written).or_else(|| self.source.place(inside?))
    }

    /// Inner names hide outer ones.
    fn column(&self, column: &At<ColumnRef>) -> Result<Typed, Misfit> {
        let At { node: ColumnRef { qualifier, name }, span } = column;
        let mut scope = Some(self);
        while let Some(here) = scope {
            let named = qualifier.as_deref().is_none_or(|qualifier| here.is_called(qualifier));
            let found = if named { here.source.place(name.as_str()) } else { None };
            if let Some(found) = found.or_else(|| here.part(qualifier.as_deref()?, name.as_str())) {
                return Ok(here.column_here(one_value(found, here.source, *span)?));
            }
            if named && qualifier.is_some() {
                break;
            }
            scope = here.outer;
        }
        let here = scope.unwrap_or(self);
        let written = match qualifier {
            Some(qualifier) => format!("{qualifier}.{name}"),
            None => name.to_string(),
        };
        let absence = Absence::column(written, *span);
        // What the governed source lacks makes a policy pass it over. A lookup that lost a column must not do that.
        Err(if here.outer.is_none() { Misfit::Absent(absence) } else { Misfit::Wrong(absence.on(&[here.source])) })
    }

    fn boolean(&self, predicate: &Predicate, depth: usize) -> Result<Typed, Misfit> {
        let typed = self.bind(predicate, depth)?;
        match typed.class() {
            Some(TypeClass::Boolean) => Ok(typed),
            // NULL is a truth value too.
            None => Ok(typed),
            Some(_) => Err(wrong_type(format!("a condition is needed here, not {}", typed.kind()), place(predicate))),
        }
    }

    fn bind(&self, predicate: &Predicate, depth: usize) -> Result<Typed, Misfit> {
        if depth > DEPTH_MAX {
            return Err(wrong("policy::too-deep", "the condition is nested too deeply", None));
        }
        let below = depth + 1;
        match predicate {
            Predicate::Literal(value) => Ok(Typed { expr: Expr::Literal(value.clone()), data_type: None, rows: 0 }),
            Predicate::Column(column) => self.column(column),
            Predicate::Compare { op, left, right } => {
                let (left_at, right_at) = (self.bind(left, below)?, self.bind(right, below)?);
                compare(*op, left_at, right_at, place(predicate))
            }
            Predicate::Between { value, low, high, negated } => {
                let span = place(predicate);
                let above = compare(Compare::GreaterOrEqual, self.bind(value, below)?, self.bind(low, below)?, span)?;
                let beneath = compare(Compare::LessOrEqual, self.bind(value, below)?, self.bind(high, below)?, span)?;
                let rows = above.rows | beneath.rows;
                Ok(negate(*negated, Typed::boolean(Expr::And(vec![above.expr, beneath.expr]), rows)))
            }
            Predicate::In { value, list, negated } => {
                self.in_list(value, list, below, place(predicate)).map(|typed| negate(*negated, typed))
            }
            Predicate::InLookup { value, lookup, negated } => {
                let value = self.bind(value, below)?;
                self.lookup(Some(value), lookup, below).map(|typed| negate(*negated, typed))
            }
            Predicate::Exists { lookup, negated } => {
                self.lookup(None, lookup, below).map(|typed| negate(*negated, typed))
            }
            Predicate::Like { value, pattern, case_insensitive, negated } => {
                let span = place(predicate);
                let value = self.text(value, below, "LIKE")?;
                let Predicate::Literal(Value::Text(pattern)) = &**pattern else {
                    return Err(wrong(
                        "policy::pattern-not-literal",
                        "the pattern of LIKE must be a text literal",
                        span,
                    ));
                };
                let rows = value.rows;
                let like = Expr::Like {
                    value: Box::new(value.expr),
                    pattern: pattern.clone(),
                    case_insensitive: *case_insensitive,
                };
                Ok(negate(*negated, Typed::boolean(like, rows)))
            }
            Predicate::IsNull { value, negated } => {
                let value = self.bind(value, below)?;
                Ok(negate(*negated, Typed::boolean(Expr::IsNull(Box::new(value.expr)), value.rows)))
            }
            Predicate::And(parts) => self.connected(parts, below, Expr::And),
            Predicate::Or(parts) => self.connected(parts, below, Expr::Or),
            Predicate::Not(inner) => self.boolean(inner, below).map(|typed| negate(true, typed)),
            Predicate::Call { function, args } => self.call(*function, args, below, place(predicate)),
            Predicate::User(call) => self.user(call, below),
        }
    }

    fn connected(&self, parts: &[Predicate], depth: usize, connect: fn(Vec<Bound>) -> Bound) -> Result<Typed, Misfit> {
        let mut rows = 0;
        let mut bound = Vec::with_capacity(parts.len());
        for part in parts {
            let part = self.boolean(part, depth)?;
            rows |= part.rows;
            bound.push(part.expr);
        }
        Ok(Typed::boolean(connect(bound), rows))
    }

    fn text(&self, predicate: &Predicate, depth: usize, wanted_by: &str) -> Result<Typed, Misfit> {
        let typed = self.bind(predicate, depth)?;
        if typed.class() == Some(TypeClass::Text) {
            return Ok(typed);
        }
        Err(wrong_type(format!("{wanted_by} needs text, not {}", typed.kind()), place(predicate)))
    }

    fn in_list(
        &self,
        value: &Predicate,
        list: &[Predicate],
        depth: usize,
        span: Option<Span>,
    ) -> Result<Typed, Misfit> {
        let mut rows = 0;
        let mut alternatives = Vec::with_capacity(list.len());
        let mut literals = Vec::with_capacity(list.len());
        for item in list {
            let alternative = compare(Compare::Equal, self.bind(value, depth)?, self.bind(item, depth)?, span)?;
            rows |= alternative.rows;
            if let (Expr::Compare { right, .. }, Predicate::Literal(_)) = (&alternative.expr, item)
                && let Expr::Literal(literal) = &**right
            {
                literals.push(literal.clone());
            }
            alternatives.push(alternative.expr);
        }
        let expr = match alternatives.len() {
            0 => return Err(wrong("policy::empty-list", "the list of IN is empty", span)),
            1 => alternatives.remove(0),
            n if literals.len() == n => {
                let value = self.bind(value, depth)?;
                Expr::InList { value: Box::new(value.expr), list: literals.into() }
            }
            _ => Expr::Or(alternatives),
        };
        Ok(Typed::boolean(expr, rows))
    }

    fn call(&self, function: Function, args: &[Predicate], depth: usize, span: Option<Span>) -> Result<Typed, Misfit> {
        let name = function.as_str();
        let counted = |wanted: usize| {
            let message =
                || format!("{name} takes {wanted} argument{}, not {}", if wanted == 1 { "" } else { "s" }, args.len());
            if args.len() == wanted { Ok(()) } else { Err(wrong("policy::arguments", message(), span)) }
        };
        let (bound, returns) = match function {
            Function::Lower | Function::Upper | Function::Length => {
                counted(1)?;
                let returns = if function == Function::Length { DataType::Int64 } else { DataType::Text };
                (self.texts(args, depth, name)?, returns)
            }
            Function::StartsWith => {
                counted(2)?;
                (self.texts(args, depth, name)?, DataType::Boolean)
            }
            Function::Substring => {
                counted(3)?;
                let (text, numbers) = args.split_at(1);
                let mut bound = self.texts(text, depth, name)?;
                for (least, number) in [1, 0].into_iter().zip(numbers) {
                    match number {
                        Predicate::Literal(Value::Int(n)) if *n >= least => bound.push(self.bind(number, depth)?),
                        _ => {
                            let message = "start and count of substring must be whole numbers, from 1 and from 0 on";
                            return Err(wrong("policy::arguments", message, span));
                        }
                    }
                }
                (bound, DataType::Text)
            }
            Function::Coalesce => self.of_one_type(name, args, depth, span)?,
            Function::Concat if args.len() < 2 => {
                let message = format!("concat takes two arguments or more, not {}", args.len());
                return Err(wrong("policy::arguments", message, span));
            }
            Function::Concat => (self.texts(args, depth, name)?, DataType::Text),
            Function::Trim => {
                counted(1)?;
                (self.texts(args, depth, name)?, DataType::Text)
            }
            Function::Left | Function::Right => {
                counted(2)?;
                let (text, count) = args.split_at(1);
                let mut bound = self.texts(text, depth, name)?;
                match count {
                    [count @ Predicate::Literal(Value::Int(0..))] => bound.push(self.bind(count, depth)?),
                    _ => {
                        let message = format!("the count of {name} must be a whole number from 0 on");
                        return Err(wrong("policy::arguments", message, span));
                    }
                }
                (bound, DataType::Text)
            }
            Function::RoundDown => {
                counted(2)?;
                self.round_down(args, depth, span)?
            }
            Function::If => {
                counted(3)?;
                let (condition, values) = args.split_at(1);
                let mut bound = Vec::with_capacity(3);
                for condition in condition {
                    bound.push(self.boolean(condition, depth)?);
                }
                let (values, returns) = self.of_one_type(name, values, depth, span)?;
                bound.extend(values);
                (bound, returns)
            }
        };
        let rows = bound.iter().fold(0, |rows, arg| rows | arg.rows);
        let args = bound.into_iter().map(|arg| arg.expr).collect();
        Ok(Typed { expr: Expr::Call { function, args, returns: returns.clone() }, data_type: Some(returns), rows })
    }

    fn texts(&self, args: &[Predicate], depth: usize, wanted_by: &str) -> Result<Vec<Typed>, Misfit> {
        args.iter().map(|arg| self.text(arg, depth, wanted_by)).collect()
    }

    /// All arguments are of the type of the first that is no literal.
    fn of_one_type(
        &self,
        name: &str,
        args: &[Predicate],
        depth: usize,
        span: Option<Span>,
    ) -> Result<(Vec<Typed>, DataType), Misfit> {
        let mut bound = args.iter().map(|arg| self.bind(arg, depth)).collect::<Result<Vec<_>, _>>()?;
        let Some(returns) = bound.iter().find_map(|arg| arg.data_type.clone()) else {
            return Err(wrong("policy::arguments", format!("{name} needs a column among its arguments"), span));
        };
        let fitted = std::mem::take(&mut bound).into_iter().map(|arg| {
            let kind = arg.kind();
            of_type(arg, &returns).ok_or_else(|| {
                let message = format!("the arguments of {name} must be of one type, not {returns} and {kind}");
                wrong_type(message, span)
            })
        });
        Ok((fitted.collect::<Result<_, _>>()?, returns))
    }

    fn round_down(
        &self,
        args: &[Predicate],
        depth: usize,
        span: Option<Span>,
    ) -> Result<(Vec<Typed>, DataType), Misfit> {
        let [value, step] = args else {
            return Err(wrong("policy::arguments", "round_down takes 2 arguments", span));
        };
        let value = self.bind(value, depth)?;
        let Some(returns) = value.data_type.clone() else {
            return Err(wrong("policy::arguments", "round_down needs a column as its first argument", span));
        };
        let to = match step {
            Predicate::Literal(Value::Int(n)) => RoundTo::Number(n.to_string()),
            Predicate::Literal(Value::Number(n)) => RoundTo::Number(n.clone()),
            Predicate::Literal(Value::Text(unit)) => {
                match CalendarUnit::ALL.into_iter().find(|known| known.as_str() == unit) {
                    Some(unit) => RoundTo::Calendar(unit),
                    None => {
                        let units = CalendarUnit::ALL.map(CalendarUnit::as_str).join(", ");
                        let message = format!("`{unit}` is none of the units {units}");
                        return Err(wrong("policy::arguments", message, span));
                    }
                }
            }
            _ => {
                let message = "round_down rounds to a number, or to a calendar unit such as 'month'";
                return Err(wrong("policy::arguments", message, span));
            }
        };
        let misfit = |what: &str, help: &str| {
            Diagnostic::error(TYPE_MISMATCH, format!("{what} does not fit {returns}")).help(help)
        };
        mask::round(&to, &returns, &misfit).map_err(|why| Misfit::Wrong(placed(why, span)))?;
        let step = self.bind(step, depth)?;
        Ok((vec![value, step], returns))
    }

    fn user(&self, call: &At<UserCall>, depth: usize) -> Result<Typed, Misfit> {
        let text = |term| Ok(Typed { expr: Expr::User(term), data_type: Some(DataType::Text), rows: 0 });
        let truth = |term, rows| Ok(Typed::boolean(Expr::User(term), rows));
        let outermost = self.outermost();
        match &call.node {
            UserCall::Username => text(UserTerm::Username),
            UserCall::Iam => text(UserTerm::Iam),
            UserCall::IsInGroups(groups) => truth(UserTerm::IsInGroups(groups.clone()), 0),
            UserCall::HasAttribute(key, value) => truth(UserTerm::HasAttribute(key.clone(), value.clone()), 0),
            UserCall::AttributeValuesContains(key, value, placeholder) => {
                let Typed { expr, rows, .. } = self.matchable(value, placeholder.as_deref(), depth, call.span)?;
                let (key, value, placeholder) = (key.clone(), Box::new(expr), placeholder.clone());
                truth(UserTerm::AttributeValuesContain { key, value, placeholder }, rows)
            }
            UserCall::GroupsContains(value, placeholder) => {
                let Typed { expr, rows, .. } = self.matchable(value, placeholder.as_deref(), depth, call.span)?;
                truth(UserTerm::GroupsContain { value: Box::new(expr), placeholder: placeholder.clone() }, rows)
            }
            UserCall::PurposesContains(value, placeholder) => {
                let Typed { expr, rows, .. } = self.matchable(value, placeholder.as_deref(), depth, call.span)?;
                truth(UserTerm::PurposesContain { value: Box::new(expr), placeholder: placeholder.clone() }, rows)
            }
            UserCall::InterpolatedComparison { value, op, text } => {
                let Typed { expr, rows, .. } = self.text(value, depth, "@interpolatedComparison")?;
                truth(UserTerm::Interpolated { value: Box::new(expr), op: *op, text: text.clone() }, rows)
            }
            UserCall::IsUsingPurpose(purpose) => truth(UserTerm::UnderPurpose(purpose.clone()), 0),
            UserCall::MaskedColumn => match outermost.masked {
                Some(column) => Ok(outermost.column_here(column)),
                None => {
                    let message = "`@column` is the value that a custom function masks, and there is none here";
                    Err(wrong("policy::masked-column", message, call.span))
                }
            },
            UserCall::ColumnTagged(tag) => {
                tagged_column(tag, call.span, outermost.source).map(|column| outermost.column_here(column))
            }
            UserCall::ColumnReference(name) => match outermost.source.place(name.as_str()) {
                Some(column) => Ok(outermost.column_here(one_value(column, outermost.source, call.span)?)),
                None => Err(Misfit::Absent(Absence::column(name.as_str(), call.span))),
            },
        }
    }

    /// What groups and attribute values can be compared with.
    fn matchable(
        &self,
        value: &Predicate,
        placeholder: Option<&str>,
        depth: usize,
        span: Option<Span>,
    ) -> Result<Typed, Misfit> {
        let typed = self.bind(value, depth)?;
        match typed.class() {
            Some(
                class @ (TypeClass::Boolean
                | TypeClass::Number
                | TypeClass::Text
                | TypeClass::Date
                | TypeClass::Timestamp),
            ) => match placeholder.filter(|placeholder| !literal::is_read_as(placeholder, class)) {
                None => Ok(typed),
                Some(placeholder) => {
                    let message = format!("the placeholder '{placeholder}' is no value of {}", typed.kind());
                    Err(wrong_type(message, span))
                }
            },
            Some(TypeClass::Binary | TypeClass::Time | TypeClass::Nested) | None => {
                Err(wrong_type(format!("groups and attribute values cannot be compared with {}", typed.kind()), span))
            }
        }
    }

    /// `value IN (lookup)`, or `EXISTS (lookup)` without a value.
    fn lookup(&self, value: Option<Typed>, query: &LookupQuery, depth: usize) -> Result<Typed, Misfit> {
        let span = query.source.span;
        if self.depth() >= LOOKUP_DEPTH_MAX {
            return Err(wrong("policy::too-deep", format!("lookups nest at most {LOOKUP_DEPTH_MAX} deep"), span));
        }
        let source = lookup_source(&query.source, self.catalog)?;
        let inner =
            Scope { source, alias: query.alias.as_deref(), outer: Some(self), catalog: self.catalog, masked: None };
        let mut parts = LookupParts { outside: self.bit(), inside: inner.bit(), ..LookupParts::default() };
        match (value, &query.key) {
            (Some(value), Some(key)) => {
                let at = place(key).or(span);
                let key = inner.bind(key, depth)?;
                if key.rows != parts.inside || value.rows & !parts.outside != 0 {
                    return Err(wrong(
                        "policy::lookup-key",
                        format!("the key must be a column of `{}`", source.name),
                        at,
                    ));
                }
                parts.key(value, key, at)?;
            }
            (None, _) => {}
            (Some(_), None) => {
                return Err(wrong("policy::lookup-key", "the lookup selects no column to compare with", span));
            }
        }
        let conjuncts = match &query.filter {
            None => &[],
            Some(Predicate::And(parts)) => parts.as_slice(),
            Some(filter) => std::slice::from_ref(filter),
        };
        for conjunct in conjuncts {
            inner.conjunct(conjunct, depth, &mut parts)?;
        }
        parts.finish(source, span)
    }

    /// One conjunct of a lookup's filter: an equality that ties the lookup's row to the row outside becomes a key,
    /// anything else must speak of the lookup's row alone.
    fn conjunct(&self, conjunct: &Predicate, depth: usize, parts: &mut LookupParts) -> Result<(), Misfit> {
        let at = place(conjunct);
        if let Predicate::Compare { op: Compare::Equal, left, right } = conjunct {
            let (left, right) = (self.bind(left, depth)?, self.bind(right, depth)?);
            let (outer, inner) = if right.rows == parts.inside { (left, right) } else { (right, left) };
            if inner.rows == parts.inside && outer.rows & !parts.outside == 0 {
                return parts.key(outer, inner, at);
            }
        }
        let bound = self.boolean(conjunct, depth)?;
        if bound.rows & !parts.inside != 0 {
            let message = format!("only equalities may tie a row of `{}` to the row outside", self.source.name);
            return Err(wrong("policy::correlation", message, at));
        }
        parts.filter.push(bound.expr);
        Ok(())
    }
}

/// A lookup as it is being bound.
#[derive(Default)]
struct LookupParts {
    /// Bits of the row that the lookup is about, and of its own row.
    outside: u8,
    inside: u8,
    keys: Vec<LookupKey<UserTerm>>,
    /// Rows that the outer sides of the keys speak of.
    rows: u8,
    /// Equalities of the lookup's row with something of no row, such as the user's name.
    fixed: Vec<LookupKey<UserTerm>>,
    filter: Vec<Bound>,
}

impl LookupParts {
    fn key(&mut self, outer: Typed, inner: Typed, at: Option<Span>) -> Result<(), Misfit> {
        let Typed { expr, rows, .. } = compare(Compare::Equal, outer, inner, at)?;
        if let Expr::Compare { left, right, .. } = expr {
            let key = LookupKey { outer: *left, inner: *right };
            let of_a_row = rows & self.outside != 0;
            self.rows |= rows & self.outside;
            if of_a_row { self.keys.push(key) } else { self.fixed.push(key) }
        }
        Ok(())
    }

    fn finish(mut self, source: &DataSource, span: Option<Span>) -> Result<Typed, Misfit> {
        if self.keys.is_empty() {
            if self.fixed.is_empty() {
                let message = format!("nothing ties a row of `{}` to the row outside", source.name);
                let diagnostic = Diagnostic::error("policy::correlation", message)
                    .help("add an equality between a column of each to the filter");
                return Err(Misfit::Wrong(placed(diagnostic, span)));
            }
            self.keys.push(self.fixed.remove(0));
        }
        let fixed = self.fixed.into_iter().map(|LookupKey { outer, inner }| Expr::Compare {
            op: Compare::Equal,
            left: Box::new(inner),
            right: Box::new(outer),
        });
        let filter = Expr::And(fixed.chain(self.filter).collect());
        let lookup = Lookup { source: source.id, keys: self.keys, filter };
        Ok(Typed::boolean(Expr::InLookup(Arc::new(lookup)), self.rows))
    }
}

/// Literals take the type of what they are compared with; two typed sides must be of comparable types.
fn compare(op: Compare, mut left: Typed, mut right: Typed, span: Option<Span>) -> Result<Typed, Misfit> {
    if [&left, &right].iter().any(|side| side.literal() == Some(&Value::Null)) {
        let diagnostic = Diagnostic::error("policy::compare-null", "a comparison with NULL is never true")
            .help("write IS NULL or IS NOT NULL");
        return Err(Misfit::Wrong(placed(diagnostic, span)));
    }
    let comparable = match (&left.data_type, &right.data_type) {
        (Some(left), Some(right)) => types_compare(left, right),
        (Some(data_type), None) => fit(&mut right, data_type),
        (None, Some(data_type)) => fit(&mut left, data_type),
        (None, None) => left.class() == right.class(),
    };
    if !comparable {
        return Err(wrong_type(format!("{} cannot be compared with {}", left.kind(), right.kind()), span));
    }
    let rows = left.rows | right.rows;
    Ok(Typed::boolean(Expr::Compare { op, left: Box::new(left.expr), right: Box::new(right.expr) }, rows))
}

fn fit(literal: &mut Typed, with: &DataType) -> bool {
    match literal.literal().and_then(|value| literal::compared(value, with)) {
        Some(value) => {
            literal.expr = Expr::Literal(value);
            true
        }
        None => false,
    }
}

fn types_compare(left: &DataType, right: &DataType) -> bool {
    match (left.class(), right.class()) {
        (TypeClass::Nested, _) | (_, TypeClass::Nested) => false,
        // What a time of day without a zone means beside one with a zone depends on the session.
        (TypeClass::Timestamp, TypeClass::Timestamp) => left == right,
        (TypeClass::Date, TypeClass::Timestamp) => *right == DataType::Timestamp { zoned: false },
        (TypeClass::Timestamp, TypeClass::Date) => *left == DataType::Timestamp { zoned: false },
        (left, right) => left == right,
    }
}

fn negate(negated: bool, typed: Typed) -> Typed {
    if negated { Typed { expr: Expr::Not(Box::new(typed.expr)), ..typed } } else { typed }
}

/// From the first to the last name in the predicate.
fn place(predicate: &Predicate) -> Option<Span> {
    let join = |a: Option<Span>, b: Option<Span>| match (a, b) {
        (Some(a), Some(b)) => Some(a.to(b)),
        (a, b) => a.or(b),
    };
    let all = |parts: &[Predicate]| parts.iter().map(place).fold(None, join);
    match predicate {
        Predicate::Literal(_) => None,
        Predicate::Column(column) => column.span,
        Predicate::User(call) => call.span,
        Predicate::Compare { left, right, .. } => join(place(left), place(right)),
        Predicate::Between { value, low, high, .. } => join(place(value), join(place(low), place(high))),
        Predicate::In { value, list, .. } => join(place(value), all(list)),
        Predicate::InLookup { value, lookup, .. } => join(place(value), lookup.source.span),
        Predicate::Exists { lookup, .. } => lookup.source.span,
        Predicate::Like { value, .. } | Predicate::IsNull { value, .. } => place(value),
        Predicate::And(parts) | Predicate::Or(parts) | Predicate::Call { args: parts, .. } => all(parts),
        Predicate::Not(inner) => place(inner),
    }
}

#[cfg(test)]
mod tests;
