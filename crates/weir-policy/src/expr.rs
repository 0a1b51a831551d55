//! The portable expression form: what a decision obliges every door to do, in one meaning.
//!
//! Columns are by id, literals typed, functions a closed list. `weir-query` lowers it to DataFusion; other engines
//! lower it to their own. An engine that meets a form it does not know refuses.

use std::sync::Arc;

mod columns;
mod simplify;

use serde::{Deserialize, Serialize};
use weir_model::{AttributeKey, ColumnId, DataType, GroupName, PurposeName, SourceId, Value, ValueSet};

use crate::ast::{Template, TimeWindow};
pub(crate) use columns::Reads;

/// An expression over the original values of one row. `U` is what it may ask about the person: [`UserTerm`] while
/// the policy is compiled, nothing once it is decided.
///
/// Truth is SQL's: three-valued, and a row filter keeps the rows for which it is true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expr<U> {
    Literal(Value),
    Column(ColumnId),
    Compare {
        op: Compare,
        left: Box<Expr<U>>,
        right: Box<Expr<U>>,
    },
    /// Equal to one of the literals; never true for NULL. The list may be long and is compiled to a keyed lookup.
    InList {
        value: Box<Expr<U>>,
        list: Arc<[Value]>,
    },
    /// Equal to one of the person's groups or attribute values. Values are read as the type of `value`; one that
    /// cannot be read as that type equals nothing.
    InValues {
        value: Box<Expr<U>>,
        values: ValueSet,
    },
    /// An `OR` of many arms that all ask for literals in the same columns: true when the columns equal the key of an
    /// arm and the arm's rest is true. Stands only where nothing but truth counts, so an engine may answer FALSE
    /// where the `OR` would be NULL. NULL in a column equals no key.
    Keyed {
        columns: Vec<ColumnId>,
        arms: Arc<[KeyedArm<U>]>,
    },
    /// The keys are those of a row of another source for which the filter is true. NULL, and so never true, when a
    /// key of the governed row is NULL, also when nothing is found; `NOT` of it is then NULL too. Rows of the other
    /// source with NULL in a key are passed over. A key over the governed row may be a literal.
    InLookup(Arc<Lookup<U>>),
    /// The values of the row in these columns occur together in at least so many rows of its own source, whatever the
    /// row filter. NULL is a value like others. Never NULL.
    Frequent {
        columns: Vec<ColumnId>,
        at_least: u32,
    },
    /// The row is one of so many out of ten thousand, chosen by a keyed hash of its values in these columns. Never NULL.
    Sampled {
        columns: Vec<ColumnId>,
        per_ten_thousand: u16,
    },
    Like {
        value: Box<Expr<U>>,
        pattern: String,
        case_insensitive: bool,
    },
    IsNull(Box<Expr<U>>),
    And(Vec<Expr<U>>),
    Or(Vec<Expr<U>>),
    Not(Box<Expr<U>>),
    Call {
        function: Function,
        args: Vec<Expr<U>>,
        /// The type that the arguments give.
        returns: DataType,
    },
    User(U),
}

/// What is left when the person is known.
pub type Residual = Expr<Nothing>;

/// There is no value of it: nothing is asked about the person any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nothing {}

/// One alternative of [`Expr::Keyed`]. Several may share a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyedArm<U> {
    /// One literal for each of the columns, of the column's class; never NULL.
    pub key: Vec<Value>,
    /// What else must be true of the row; `TRUE` when nothing.
    pub rest: Expr<U>,
}

/// A condition on another registered source, evaluated over its raw rows with the policy's authority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup<U> {
    pub source: SourceId,
    /// Pairs of an expression over the governed row and one over the row of `source`; equal in all of them.
    pub keys: Vec<LookupKey<U>>,
    /// Over the row of `source`; may hold lookups of its own.
    pub filter: Expr<U>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupKey<U> {
    pub outer: Expr<U>,
    pub inner: Expr<U>,
}

/// What a compiled policy asks about the person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserTerm {
    Username,
    Iam,
    /// Member of all.
    IsInGroups(Vec<GroupName>),
    HasAttribute(AttributeKey, String),
    /// Who has no value has `placeholder`, if there is one; as it is with groups and purposes.
    AttributeValuesContain {
        key: AttributeKey,
        value: Box<Expr<UserTerm>>,
        placeholder: Option<String>,
    },
    GroupsContain {
        value: Box<Expr<UserTerm>>,
        placeholder: Option<String>,
    },
    PurposesContain {
        value: Box<Expr<UserTerm>>,
        placeholder: Option<String>,
    },
    /// True when the comparison is, with one of the texts.
    Interpolated {
        value: Box<Expr<UserTerm>>,
        op: Compare,
        text: Template,
    },
    /// Acting under it or one below it.
    UnderPurpose(PurposeName),
    /// The column's value lies within the window before the statement. Where the calendar ends, nothing is older.
    Within {
        column: ColumnId,
        window: TimeWindow,
        /// The column holds dates.
        date: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    pub fn as_str(self) -> &'static str {
        match self {
            Compare::Equal => "=",
            Compare::NotEqual => "<>",
            Compare::Less => "<",
            Compare::LessOrEqual => "<=",
            Compare::Greater => ">",
            Compare::GreaterOrEqual => ">=",
        }
    }
}

/// The functions a predicate may call. None of them can fail on a value of the right type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `length(text)`: in characters, as a bigint.
    Length,
    /// `starts_with(text, text)`
    StartsWith,
    /// `substring(text, start, count)`: one-based, in characters; `start` and `count` are literals not below 1 and 0.
    Substring,
    /// `coalesce(a, b, …)`: the first that is not NULL; all of one type.
    Coalesce,
    /// `concat(text, text, …)`: NULL when one of them is NULL.
    Concat,
    /// `left(text, count)`: the first characters; `count` is a literal not below 0.
    Left,
    /// `right(text, count)`: the last characters; `count` is a literal not below 0.
    Right,
    /// `trim(text)`: without spaces at either end.
    Trim,
    /// `round_down(number, step)`, `round_down(time, 'month')`: as the rounding mask does; the step is a literal.
    RoundDown,
    /// `if(condition, a, b)`: `b` also where the condition is NULL; both of one type.
    If,
}

impl Function {
    pub const ALL: [Function; 12] = [
        Function::Lower,
        Function::Upper,
        Function::Length,
        Function::StartsWith,
        Function::Substring,
        Function::Coalesce,
        Function::Concat,
        Function::Left,
        Function::Right,
        Function::Trim,
        Function::RoundDown,
        Function::If,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Function::Lower => "lower",
            Function::Upper => "upper",
            Function::Length => "length",
            Function::StartsWith => "starts_with",
            Function::Substring => "substring",
            Function::Coalesce => "coalesce",
            Function::Concat => "concat",
            Function::Left => "left",
            Function::Right => "right",
            Function::Trim => "trim",
            Function::RoundDown => "round_down",
            Function::If => "if",
        }
    }
}

/// Answers what an expression asks about the person.
pub trait Answers<U, V> {
    fn answer(&mut self, ask: &U) -> Expr<V>;
}

impl<U> Expr<U> {
    pub fn truth(value: bool) -> Self {
        Expr::Literal(Value::Boolean(value))
    }

    pub fn is_literal(&self, value: bool) -> bool {
        matches!(self, Expr::Literal(Value::Boolean(b)) if *b == value)
    }

    /// The same expression with every question about the person replaced by its answer. Arms of a keyed lookup whose
    /// rest became FALSE are left out.
    #[must_use]
    pub fn answered<V>(&self, by: &mut impl Answers<U, V>) -> Expr<V> {
        match self {
            Expr::Literal(value) => Expr::Literal(value.clone()),
            Expr::Column(column) => Expr::Column(*column),
            Expr::Compare { op, left, right } => {
                Expr::Compare { op: *op, left: Box::new(left.answered(by)), right: Box::new(right.answered(by)) }
            }
            Expr::InList { value, list } => {
                Expr::InList { value: Box::new(value.answered(by)), list: Arc::clone(list) }
            }
            Expr::InValues { value, values } => {
                Expr::InValues { value: Box::new(value.answered(by)), values: values.clone() }
            }
            Expr::Keyed { columns, arms } => {
                let arms = arms.iter().filter_map(|arm| {
                    let rest = arm.rest.answered(by);
                    (!rest.is_literal(false)).then(|| KeyedArm { key: arm.key.clone(), rest })
                });
                Expr::Keyed { columns: columns.clone(), arms: arms.collect() }
            }
            Expr::InLookup(lookup) => {
                let Lookup { source, keys, filter } = &**lookup;
                let keys = keys
                    .iter()
                    .map(|LookupKey { outer, inner }| LookupKey {
                        outer: outer.answered(by),
                        inner: inner.answered(by),
                    })
                    .collect();
                Expr::InLookup(Arc::new(Lookup { source: *source, keys, filter: filter.answered(by) }))
            }
            Expr::Frequent { columns, at_least } => Expr::Frequent { columns: columns.clone(), at_least: *at_least },
            Expr::Sampled { columns, per_ten_thousand } => {
                Expr::Sampled { columns: columns.clone(), per_ten_thousand: *per_ten_thousand }
            }
            Expr::Like { value, pattern, case_insensitive } => Expr::Like {
                value: Box::new(value.answered(by)),
                pattern: pattern.clone(),
                case_insensitive: *case_insensitive,
            },
            Expr::IsNull(value) => Expr::IsNull(Box::new(value.answered(by))),
            Expr::And(parts) => Expr::And(parts.iter().map(|part| part.answered(by)).collect()),
            Expr::Or(parts) => Expr::Or(parts.iter().map(|part| part.answered(by)).collect()),
            Expr::Not(inner) => Expr::Not(Box::new(inner.answered(by))),
            Expr::Call { function, args, returns } => Expr::Call {
                function: *function,
                args: args.iter().map(|arg| arg.answered(by)).collect(),
                returns: returns.clone(),
            },
            Expr::User(ask) => by.answer(ask),
        }
    }

    /// Whether it asks anything about the person.
    pub fn asks(&self) -> bool {
        self.any(&|part| matches!(part, Expr::User(_)))
    }

    /// Whether it reads another source.
    pub fn looks_up(&self) -> bool {
        self.any(&|part| matches!(part, Expr::InLookup(_)))
    }

    /// Whether `test` holds for the expression or a part of it, inside of lookups too.
    pub fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        let within = |parts: &[Self]| parts.iter().any(|part| part.any(test));
        test(self)
            || match self {
                Expr::Literal(_) | Expr::Column(_) | Expr::Frequent { .. } | Expr::Sampled { .. } | Expr::User(_) => {
                    false
                }
                Expr::Compare { left, right, .. } => left.any(test) || right.any(test),
                Expr::InList { value, .. } | Expr::InValues { value, .. } | Expr::Like { value, .. } => value.any(test),
                Expr::Keyed { arms, .. } => arms.iter().any(|arm| arm.rest.any(test)),
                Expr::InLookup(lookup) => {
                    lookup.filter.any(test) || lookup.keys.iter().any(|key| key.outer.any(test) || key.inner.any(test))
                }
                Expr::IsNull(inner) | Expr::Not(inner) => inner.any(test),
                Expr::And(parts) | Expr::Or(parts) | Expr::Call { args: parts, .. } => within(parts),
            }
    }
}

impl Expr<UserTerm> {
    /// The same, when it asks nothing about the person.
    pub(crate) fn without_questions(&self) -> Option<Residual> {
        struct Unasked;
        impl Answers<UserTerm, Nothing> for Unasked {
            fn answer(&mut self, _: &UserTerm) -> Residual {
                Expr::truth(false)
            }
        }
        (!self.asks()).then(|| self.answered(&mut Unasked))
    }
}
