//! Smaller expressions of the same truth: constants folded, long `OR` chains made keyed lookups.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not simpler in another form stays as it is")]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{ColumnId, Value};

use super::{Compare, Expr, KeyedArm, Lookup, LookupKey};
use crate::exact::Exact;

/// From how many alternatives on an `OR` is worth a lookup by key.
const KEYED_ARMS_MIN: usize = 8;

/// What is asked of an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Only whether it is true, as of a row filter: NULL may become FALSE.
    Truth,
    /// The value itself, NULL included.
    Value,
}

impl<U: Clone> Expr<U> {
    /// Folds what is known already, for a place where nothing but truth counts.
    #[must_use]
    pub fn folded(self) -> Self {
        fold(self, Wanted::Truth)
    }

    /// As [`Self::folded`], and makes long `OR` chains keyed lookups.
    #[must_use]
    pub fn simplified(self) -> Self {
        keyed(self.folded())
    }
}

fn fold<U: Clone>(expr: Expr<U>, wanted: Wanted) -> Expr<U> {
    let folded = match expr {
        Expr::Literal(_) | Expr::Column(_) | Expr::User(_) | Expr::Call { .. } => expr,
        Expr::Frequent { at_least: 0 | 1, .. } => Expr::truth(true),
        Expr::Sampled { per_ten_thousand: 10_000.., .. } => Expr::truth(true),
        Expr::Frequent { .. } | Expr::Sampled { .. } => expr,
        Expr::Compare { op, left, right } => compare(op, left, right),
        Expr::InList { value, list } => in_list(value, list),
        Expr::InValues { value, values } => match &*value {
            _ if values.is_empty() => Expr::truth(false),
            Expr::Literal(Value::Text(text)) => Expr::truth(values.contains(text)),
            _ => Expr::InValues { value, values },
        },
        Expr::Keyed { columns, arms } => keyed_arms(columns, arms),
        Expr::InLookup(lookup) => return in_lookup(lookup, wanted),
        Expr::Like { .. } => expr,
        Expr::IsNull(value) => match *value {
            Expr::Literal(value) => Expr::truth(value == Value::Null),
            value => Expr::IsNull(Box::new(value)),
        },
        Expr::And(parts) => and(parts, wanted),
        Expr::Or(parts) => or(parts, wanted),
        Expr::Not(inner) => match fold(*inner, Wanted::Value) {
            Expr::Literal(Value::Boolean(b)) => Expr::truth(!b),
            Expr::Literal(Value::Null) => Expr::Literal(Value::Null),
            Expr::Not(inner) => return fold(*inner, wanted),
            inner => Expr::Not(Box::new(inner)),
        },
    };
    match folded {
        Expr::Literal(Value::Null) if wanted == Wanted::Truth => Expr::truth(false),
        folded => folded,
    }
}

fn compare<U>(op: Compare, left: Box<Expr<U>>, right: Box<Expr<U>>) -> Expr<U> {
    match (&*left, &*right) {
        (Expr::Literal(Value::Null), _) | (_, Expr::Literal(Value::Null)) => Expr::Literal(Value::Null),
        (Expr::Literal(a), Expr::Literal(b)) => match order(a, b) {
            Some(ordering) => Expr::truth(op.holds(ordering)),
            None => Expr::Compare { op, left, right },
        },
        _ => Expr::Compare { op, left, right },
    }
}

fn in_list<U>(value: Box<Expr<U>>, list: Arc<[Value]>) -> Expr<U> {
    let Expr::Literal(literal) = &*value else { return Expr::InList { value, list } };
    if *literal == Value::Null {
        return Expr::Literal(Value::Null);
    }
    let known: Option<Vec<Ordering>> = list.iter().map(|item| order(literal, item)).collect();
    match known {
        Some(orderings) => Expr::truth(orderings.contains(&Ordering::Equal)),
        None => Expr::InList { value, list },
    }
}

fn keyed_arms<U: Clone>(columns: Vec<ColumnId>, arms: Arc<[KeyedArm<U>]>) -> Expr<U> {
    let arms: Vec<KeyedArm<U>> = arms
        .iter()
        .map(|arm| KeyedArm { key: arm.key.clone(), rest: arm.rest.clone().folded() })
        .filter(|arm| !arm.rest.is_literal(false))
        .collect();
    from_arms(columns, arms)
}

/// The smallest form of the arms: nothing, a list of literals, or a keyed lookup.
fn from_arms<U>(columns: Vec<ColumnId>, arms: Vec<KeyedArm<U>>) -> Expr<U> {
    if arms.is_empty() {
        return Expr::truth(false);
    }
    match columns.as_slice() {
        [column] if arms.iter().all(|arm| arm.rest.is_literal(true)) => {
            let list: Arc<[Value]> = arms.into_iter().flat_map(|arm| arm.key).collect();
            Expr::InList { value: Box::new(Expr::Column(*column)), list }
        }
        _ => Expr::Keyed { columns, arms: arms.into() },
    }
}

fn in_lookup<U: Clone>(lookup: Arc<Lookup<U>>, wanted: Wanted) -> Expr<U> {
    let Lookup { source, keys, filter } = Arc::unwrap_or_clone(lookup);
    let filter = filter.folded();
    if wanted == Wanted::Truth && filter.is_literal(false) {
        return Expr::truth(false);
    }
    let keys = keys
        .into_iter()
        .map(|LookupKey { outer, inner }| LookupKey {
            outer: fold(outer, Wanted::Value),
            inner: fold(inner, Wanted::Value),
        })
        .collect();
    Expr::InLookup(Arc::new(Lookup { source, keys, filter }))
}

fn and<U: Clone>(parts: Vec<Expr<U>>, wanted: Wanted) -> Expr<U> {
    let mut kept = Vec::with_capacity(parts.len());
    for part in parts {
        match fold(part, wanted) {
            Expr::Literal(Value::Boolean(true)) => {}
            Expr::Literal(Value::Boolean(false)) => return Expr::truth(false),
            Expr::And(inner) => kept.extend(inner),
            part => kept.push(part),
        }
    }
    if wanted == Wanted::Truth && contradicts(&kept) {
        return Expr::truth(false);
    }
    match kept.len() {
        0 => Expr::truth(true),
        1 => kept.remove(0),
        _ => Expr::And(kept),
    }
}

/// Whether one column would have to equal two different literals.
fn contradicts<U>(parts: &[Expr<U>]) -> bool {
    let mut seen: BTreeMap<ColumnId, &Value> = BTreeMap::new();
    parts.iter().filter_map(equality).any(|(column, value)| match seen.insert(column, value) {
        Some(before) => order(before, value).is_some_and(Ordering::is_ne),
        None => false,
    })
}

fn or<U: Clone>(parts: Vec<Expr<U>>, wanted: Wanted) -> Expr<U> {
    let mut kept = Vec::with_capacity(parts.len());
    for part in parts {
        match fold(part, wanted) {
            Expr::Literal(Value::Boolean(false)) => {}
            Expr::Literal(Value::Boolean(true)) => return Expr::truth(true),
            Expr::Or(inner) => kept.extend(inner),
            part => kept.push(part),
        }
    }
    match kept.len() {
        0 => Expr::truth(false),
        1 => kept.remove(0),
        _ => Expr::Or(kept),
    }
}

/// Goes down where nothing but truth counts: through `AND`, `OR` and the filters of lookups.
fn keyed<U: Clone>(expr: Expr<U>) -> Expr<U> {
    match expr {
        Expr::And(parts) => Expr::And(parts.into_iter().map(keyed).collect()),
        Expr::Or(parts) if parts.len() < KEYED_ARMS_MIN => Expr::Or(parts.into_iter().map(keyed).collect()),
        Expr::Or(parts) => keyed_or(parts),
        Expr::InLookup(lookup) => {
            let Lookup { source, keys, filter } = Arc::unwrap_or_clone(lookup);
            Expr::InLookup(Arc::new(Lookup { source, keys, filter: keyed(filter) }))
        }
        Expr::Literal(_)
        | Expr::Column(_)
        | Expr::Compare { .. }
        | Expr::InList { .. }
        | Expr::InValues { .. }
        | Expr::Keyed { .. }
        | Expr::Frequent { .. }
        | Expr::Sampled { .. }
        | Expr::Like { .. }
        | Expr::IsNull(_)
        | Expr::Not(_)
        | Expr::Call { .. }
        | Expr::User(_) => expr,
    }
}

fn keyed_or<U: Clone>(mut arms: Vec<Expr<U>>) -> Expr<U> {
    let mut made = Vec::new();
    while let Some(column) = commonest_column(&arms) {
        let (with, without) = arms.into_iter().partition(|arm| conjuncts(arm).iter().any(|c| is_on(c, column)));
        arms = without;
        made.push(group(column, with));
    }
    made.extend(arms.into_iter().map(keyed));
    if made.len() == 1 { made.remove(0) } else { Expr::Or(made) }
}

/// The column that most arms ask for a literal in, when enough of them do.
fn commonest_column<U>(arms: &[Expr<U>]) -> Option<ColumnId> {
    let mut counts: BTreeMap<ColumnId, usize> = BTreeMap::new();
    for arm in arms {
        let mut columns: Vec<ColumnId> =
            conjuncts(arm).iter().filter_map(|c| literals(c).map(|(column, _)| column)).collect();
        columns.sort_unstable();
        columns.dedup();
        for column in columns {
            *counts.entry(column).or_default() += 1;
        }
    }
    let (column, count) = counts.into_iter().max_by_key(|(column, count)| (*count, std::cmp::Reverse(*column)))?;
    (count >= KEYED_ARMS_MIN).then_some(column)
}

/// Arms that all ask for literals in `column`, keyed by it and by every other column that all of them equate.
fn group<U: Clone>(column: ColumnId, arms: Vec<Expr<U>>) -> Expr<U> {
    let equated =
        |arm: &Expr<U>| -> Vec<ColumnId> { conjuncts(arm).iter().filter_map(equality).map(|(c, _)| c).collect() };
    let mut columns = vec![column];
    if let Some((first, others)) = arms.split_first() {
        let others: Vec<_> = others.iter().map(equated).collect();
        for other in equated(first) {
            if !columns.contains(&other) && others.iter().all(|columns| columns.contains(&other)) {
                columns.push(other);
            }
        }
    }
    let mut made = Vec::with_capacity(arms.len());
    for arm in arms {
        keyed_arm(&columns, arm, &mut made);
    }
    from_arms(columns, made)
}

/// Splits one arm into its key and the rest. An `IN` list on the first column gives an arm for each literal.
fn keyed_arm<U: Clone>(columns: &[ColumnId], arm: Expr<U>, into: &mut Vec<KeyedArm<U>>) {
    let mut alternatives: Option<Vec<Value>> = None;
    let mut key: Vec<Option<Value>> = vec![None; columns.len()];
    let mut rest = Vec::new();
    let parts = match arm {
        Expr::And(parts) => parts,
        arm => vec![arm],
    };
    for part in parts {
        let place = equality(&part)
            .and_then(|(column, value)| Some((columns.iter().position(|c| *c == column)?, value.clone())));
        match place {
            Some((0, value)) if alternatives.is_none() => alternatives = Some(vec![value]),
            Some((at, value)) if at > 0 && key.get(at).is_some_and(Option::is_none) => {
                if let Some(slot) = key.get_mut(at) {
                    *slot = Some(value);
                }
            }
            _ => match literals(&part) {
                Some((column, values)) if alternatives.is_none() && columns.first() == Some(&column) => {
                    alternatives = Some(values.to_vec());
                }
                _ => rest.push(part),
            },
        }
    }
    let rest = match rest.len() {
        0 => Expr::truth(true),
        1 => rest.remove(0),
        _ => Expr::And(rest),
    };
    for first in alternatives.unwrap_or_default() {
        let tail = key.iter().skip(1).flatten().cloned();
        into.push(KeyedArm { key: std::iter::once(first).chain(tail).collect(), rest: rest.clone() });
    }
}

fn conjuncts<U>(expr: &Expr<U>) -> &[Expr<U>] {
    match expr {
        Expr::And(parts) => parts,
        _ => std::slice::from_ref(expr),
    }
}

fn is_on<U>(expr: &Expr<U>, column: ColumnId) -> bool {
    literals(expr).is_some_and(|(c, _)| c == column)
}

/// `column = literal`, either way round.
fn equality<U>(expr: &Expr<U>) -> Option<(ColumnId, &Value)> {
    match literals(expr)? {
        (column, [value]) => Some((column, value)),
        _ => None,
    }
}

/// `column = literal` or `column IN (literals)`.
fn literals<U>(expr: &Expr<U>) -> Option<(ColumnId, &[Value])> {
    match expr {
        Expr::Compare { op: Compare::Equal, left, right } => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value)) | (Expr::Literal(value), Expr::Column(column)) => {
                Some((*column, std::slice::from_ref(value)))
            }
            _ => None,
        },
        Expr::InList { value, list } => match &**value {
            Expr::Column(column) => Some((*column, list)),
            _ => None,
        },
        _ => None,
    }
}

impl Compare {
    /// Whether the comparison holds of two values in this order.
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            Compare::Equal => ordering.is_eq(),
            Compare::NotEqual => ordering.is_ne(),
            Compare::Less => ordering.is_lt(),
            Compare::LessOrEqual => ordering.is_le(),
            Compare::Greater => ordering.is_gt(),
            Compare::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// The order of two literals of one class; `None` where there is none that every engine shares.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (exact(a), exact(b)) {
        return a.compare(b);
    }
    if let (Value::Date(a), Value::Date(b)) = (a, b) {
        return Some(a.cmp(b));
    }
    if let (Some(a), Some(b)) = (microseconds(a), microseconds(b)) {
        return Some(a.cmp(&b));
    }
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn exact(value: &Value) -> Option<Exact> {
    match value {
        Value::Int(n) => Some(Exact::of_int(*n)),
        Value::Number(n) => Exact::parse(n),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Date(_) | Value::Timestamp(_) => None,
    }
}

fn microseconds(value: &Value) -> Option<i64> {
    match value {
        Value::Date(days) => i64::from(*days).checked_mul(MICROSECONDS_A_DAY),
        Value::Timestamp(us) => Some(*us),
        Value::Null | Value::Boolean(_) | Value::Int(_) | Value::Number(_) | Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests;
