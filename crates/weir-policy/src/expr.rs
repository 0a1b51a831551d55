//! The portable expression form: what a decision obliges every door to do, in one meaning.
//!
//! Columns are by id, literals typed, functions a closed list. `weir-query` lowers it to DataFusion; other engines
//! lower it to their own. An engine that meets a form it does not know refuses.

use std::convert::Infallible;
use std::sync::Arc;

mod simplify;

use serde::{Deserialize, Serialize};
use weir_model::{AttributeKey, ColumnId, DataType, GroupName, SourceId, Value, ValueSet};

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
pub type Residual = Expr<Infallible>;

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
    AttributeValuesContain {
        key: AttributeKey,
        value: Box<Expr<UserTerm>>,
    },
    GroupsContain {
        value: Box<Expr<UserTerm>>,
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
}

impl Function {
    pub const ALL: [Function; 6] = [
        Function::Lower,
        Function::Upper,
        Function::Length,
        Function::StartsWith,
        Function::Substring,
        Function::Coalesce,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Function::Lower => "lower",
            Function::Upper => "upper",
            Function::Length => "length",
            Function::StartsWith => "starts_with",
            Function::Substring => "substring",
            Function::Coalesce => "coalesce",
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
        match self {
            Expr::User(_) => true,
            Expr::Literal(_) | Expr::Column(_) => false,
            Expr::Compare { left, right, .. } => left.asks() || right.asks(),
            Expr::InList { value, .. } | Expr::InValues { value, .. } | Expr::Like { value, .. } => value.asks(),
            Expr::Keyed { arms, .. } => arms.iter().any(|arm| arm.rest.asks()),
            Expr::InLookup(lookup) => {
                lookup.filter.asks() || lookup.keys.iter().any(|key| key.outer.asks() || key.inner.asks())
            }
            Expr::IsNull(inner) | Expr::Not(inner) => inner.asks(),
            Expr::And(parts) | Expr::Or(parts) | Expr::Call { args: parts, .. } => parts.iter().any(Expr::asks),
        }
    }
}
