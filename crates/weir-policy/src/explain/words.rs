//! Conditions, scopes and masks in words.

use weir_model::{ColumnId, DataSource, Value};

use crate::ast::{Condition, Randomized, RoundTo, Scope, Test};
use crate::decision::{AppliedMask, Mask, Obligations};
use crate::expr::{Expr, KeyedArm, Lookup, Nothing, Residual};
use crate::snapshot::Snapshot;

/// How many values of a list are shown.
const LISTED_MAX: usize = 7;

/// The residual as SQL writes it, over the columns of `source`; long lists are cut.
pub fn residual_text(residual: &Residual, source: &DataSource, snapshot: &Snapshot) -> String {
    Writer { source, snapshot }.text(residual, Around::Nothing)
}

/// What must be done to the rows of the source, a line each: the row filter first, then the masks by column.
pub fn obligations_text(obligations: &Obligations, source: &DataSource, snapshot: &Snapshot) -> Vec<String> {
    let rows = obligations.row_filter().map(|rows| format!("row filter: {}", residual_text(&rows, source, snapshot)));
    let writer = Writer { source, snapshot };
    let masks = obligations.masks.iter();
    let masks =
        masks.map(|(id, applied)| format!("column {}: {}", writer.column(*id), mask_text(applied, source, snapshot)));
    rows.into_iter().chain(masks).collect()
}

/// What an expression stands in, for parentheses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Nothing,
    And,
    Tight,
}

struct Writer<'a> {
    source: &'a DataSource,
    snapshot: &'a Snapshot,
}

impl Writer<'_> {
    fn text(&self, expr: &Residual, around: Around) -> String {
        match expr {
            Expr::Literal(value) => value.to_string(),
            Expr::Column(column) => self.column(*column),
            Expr::Compare { op, left, right } => {
                format!("{} {} {}", self.text(left, Around::Tight), op.as_str(), self.text(right, Around::Tight))
            }
            Expr::InList { value, list } => {
                format!("{} IN ({})", self.text(value, Around::Tight), listed(list.iter().map(Value::to_string)))
            }
            Expr::InValues { value, values } => {
                let values = values.as_slice().iter().map(|value| Value::Text(value.clone()).to_string());
                format!("{} IN ({})", self.text(value, Around::Tight), listed(values))
            }
            Expr::Keyed { columns, arms } => self.keyed(columns, arms),
            Expr::InLookup(lookup) => self.lookup(lookup),
            Expr::Frequent { columns, at_least } => {
                format!("{} occurs in at least {at_least} rows", self.row(columns))
            }
            Expr::Sampled { columns, per_ten_thousand } => {
                let share = f64::from(*per_ten_thousand) / 100.0;
                format!("the row is among the {share} % chosen by {}", self.row(columns))
            }
            Expr::Like { value, pattern, case_insensitive } => {
                let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
                format!("{} {like} {}", self.text(value, Around::Tight), Value::Text(pattern.clone()))
            }
            Expr::IsNull(value) => format!("{} IS NULL", self.text(value, Around::Tight)),
            Expr::And(parts) => self.joined(parts, " AND ", Around::And, around == Around::Tight),
            Expr::Or(parts) => self.joined(parts, " OR ", Around::Nothing, around != Around::Nothing),
            Expr::Not(inner) => format!("NOT ({})", self.text(inner, Around::Nothing)),
            Expr::Call { function, args, returns: _ } => {
                let args: Vec<String> = args.iter().map(|arg| self.text(arg, Around::Nothing)).collect();
                format!("{}({})", function.as_str(), args.join(", "))
            }
            Expr::User(never) => match *never {},
        }
    }

    fn column(&self, id: ColumnId) -> String {
        self.source.place_by_id(id).map_or_else(|| format!("column {id}"), |column| column.name.to_string())
    }

    fn row(&self, columns: &[ColumnId]) -> String {
        let names: Vec<String> = columns.iter().map(|column| self.column(*column)).collect();
        if names.len() == 1 { names.concat() } else { format!("({})", names.join(", ")) }
    }

    fn joined(&self, parts: &[Residual], word: &str, inside: Around, in_parentheses: bool) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.text(part, inside)).collect();
        let joined = parts.join(word);
        if in_parentheses { format!("({joined})") } else { joined }
    }

    fn keyed(&self, columns: &[ColumnId], arms: &[KeyedArm<Nothing>]) -> String {
        let arms = arms.iter().map(|arm| {
            let mut all: Vec<String> = columns
                .iter()
                .zip(&arm.key)
                .map(|(column, value)| format!("{} = {value}", self.column(*column)))
                .collect();
            if !arm.rest.is_literal(true) {
                all.push(self.text(&arm.rest, Around::And));
            }
            all.join(" AND ")
        });
        format!("({})", cut(arms, " OR "))
    }

    fn lookup(&self, lookup: &Lookup<Nothing>) -> String {
        let Some(inner) = self.snapshot.source(lookup.source) else {
            return "a lookup in a source that is gone".to_owned();
        };
        let there = Writer { source: inner, snapshot: self.snapshot };
        let row =
            |parts: Vec<String>| if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(", ")) };
        let outer = row(lookup.keys.iter().map(|key| self.text(&key.outer, Around::Tight)).collect());
        let keys: Vec<String> = lookup.keys.iter().map(|key| there.text(&key.inner, Around::Tight)).collect();
        let filter = if lookup.filter.is_literal(true) {
            String::new()
        } else {
            format!(" WHERE {}", there.text(&lookup.filter, Around::Nothing))
        };
        format!("{outer} IN (SELECT {} FROM {}{filter})", keys.join(", "), inner.name)
    }
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    cut(items, ", ")
}

/// The first items, and how many more there are.
fn cut(items: impl ExactSizeIterator<Item = String>, separator: &str) -> String {
    let more = items.len().saturating_sub(LISTED_MAX);
    let shown: Vec<String> = items.take(LISTED_MAX).collect();
    match more {
        0 => shown.join(separator),
        more => format!("{}{separator}… and {more} more", shown.join(separator)),
    }
}

/// After "users who".
pub(super) fn condition(condition: &Condition) -> String {
    let joined = |parts: &[Condition], word: &str| {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Condition::Test(_) => self::condition(part),
                Condition::Any(_) | Condition::All(_) => format!("({})", self::condition(part)),
            })
            .collect();
        parts.join(word)
    };
    match condition {
        Condition::Any(parts) => joined(parts, " or "),
        Condition::All(parts) => joined(parts, " and "),
        Condition::Test(Test::MemberOf(group)) => format!("are members of group `{}`", group.node),
        Condition::Test(Test::HasAttribute { key, value }) => format!("possess attribute `{}` `{value}`", key.node),
        Condition::Test(Test::Owner) => "own the data source".to_owned(),
        Condition::Test(Test::UnderPurpose(purpose)) => format!("act under purpose `{}`", purpose.node),
        Condition::Test(Test::Permitted(permission)) => format!("have permission `{}`", permission.as_str()),
    }
}

/// Why the chosen rule of a cascade is the one for the person, or why none is.
pub(super) fn scopes(scopes: &[&Scope], chosen: Option<usize>, name: &str) -> String {
    let Some(at) = chosen else {
        return match scopes.last() {
            Some(Scope::EveryoneExcept(excepted)) => {
                format!("it excepts users who {}, and {name} is one", condition(excepted))
            }
            Some(Scope::Who(_)) => format!("it is for users who {}, and {name} is not one", earlier(scopes)),
            Some(Scope::Everyone) | None => format!("it says nothing about {name}"),
        };
    };
    let passed = scopes.get(..at).unwrap_or_default();
    let others = if passed.is_empty() {
        "everyone".to_owned()
    } else {
        format!("all others than users who {}", earlier(passed))
    };
    match scopes.get(at) {
        Some(Scope::Everyone) => format!("it is for {others}"),
        Some(Scope::EveryoneExcept(excepted)) => {
            format!("it is for {others} except users who {}, and {name} is not one", condition(excepted))
        }
        Some(Scope::Who(taken)) => format!("it is for users who {}, and {name} is one", condition(taken)),
        None => "it is for everyone".to_owned(),
    }
}

fn earlier(scopes: &[&Scope]) -> String {
    let conditions: Vec<String> = scopes
        .iter()
        .filter_map(|scope| match scope {
            Scope::Who(taken) => Some(condition(taken)),
            Scope::Everyone | Scope::EveryoneExcept(_) => None,
        })
        .collect();
    conditions.join(" or ")
}

/// As the beginning of a sentence.
pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn mask(mask: &Mask, source: &DataSource, snapshot: &Snapshot) -> String {
    match mask {
        Mask::Hash => "hashed".to_owned(),
        Mask::Null => "null".to_owned(),
        Mask::Constant(value) => format!("the constant {value}"),
        Mask::Round(RoundTo::Number(number)) => format!("rounded down to a multiple of {number}"),
        Mask::Round(RoundTo::Calendar(unit)) => format!("rounded down to the {}", unit.as_str()),
        Mask::Regex { pattern, replacement, case_insensitive, global } => {
            let which = if *global { "every" } else { "the first" };
            let case = if *case_insensitive { " in any case" } else { "" };
            format!("{which} match of `{pattern}`{case} replaced by `{replacement}`")
        }
        Mask::Reversible => "encrypted, for those who may unmask it".to_owned(),
        Mask::FormatPreserving => "encrypted in the same format".to_owned(),
        Mask::Randomized { how: Randomized::Replaced { percent, by }, .. } => {
            format!("{percent} % replaced at random by one of {}", listed(by.iter().map(Value::to_string)))
        }
        Mask::Randomized { how: Randomized::Within(most), .. } => format!("moved at random by at most {most}"),
        Mask::Randomized { how: Randomized::WithinDays(days), .. } => {
            format!("moved at random by at most {days} days")
        }
        Mask::Computed(expression) => format!("replaced by {}", residual_text(expression, source, snapshot)),
    }
}

/// The mask, and the one that it stands in for.
pub(super) fn fitted(applied: &AppliedMask, source: &DataSource, snapshot: &Snapshot) -> String {
    let mask = mask(&applied.mask, source, snapshot);
    match &applied.instead_of {
        None => mask,
        Some(method) => format!("{mask}, for `{method}` does not fit"),
    }
}

/// How a column is masked, and where.
pub(crate) fn mask_text(applied: &AppliedMask, source: &DataSource, snapshot: &Snapshot) -> String {
    let mask = fitted(applied, source, snapshot);
    let Some(when) = &applied.when else { return mask };
    let when = residual_text(when, source, snapshot);
    let behind = |behind: &AppliedMask| mask_text(behind, source, snapshot);
    let otherwise = applied.otherwise.as_deref().map_or_else(|| "clear".to_owned(), behind);
    format!("{mask} where {when}, otherwise {otherwise}")
}
