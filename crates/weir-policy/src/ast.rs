//! A policy as its author wrote it, whatever the spelling. Names are not resolved yet.

use serde::{Deserialize, Serialize};
use weir_model::{
    AttributeKey, ColumnName, GroupName, Permission, PolicyKey, PrincipalId, PrincipalSet, PurposeName, SourceName,
    Tag, Value,
};

use crate::diagnostic::Span;
use crate::expr::{Compare, Function};

mod certification;
mod template;

pub use certification::Certification;
pub use template::{AnyOf, Piece, Template};
pub(crate) use template::{Interpolated, NoTemplate};

/// A name with the place where it was written. Equality looks at the name alone, so that two spellings of a policy
/// are equal.
#[derive(Clone, Debug, Default)]
pub struct At<T> {
    pub node: T,
    pub span: Option<Span>,
}

impl<T> At<T> {
    pub fn new(node: T, span: Span) -> Self {
        Self { node, span: Some(span) }
    }
}

impl<T> From<T> for At<T> {
    fn from(node: T) -> Self {
        Self { node, span: None }
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

/// One saved statement with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub key: PolicyKey,
    /// For people.
    pub title: Option<String>,
    /// Saved, checked and shown, but without effect.
    pub staged: bool,
    /// Never in effect; policies are made from it.
    pub template: bool,
    pub certification: Option<Certification>,
    /// Of several masks that pick a column equally closely, the one of the highest priority wins; then the earliest.
    pub priority: i32,
    pub statement: Statement,
}

impl Policy {
    /// In effect, and nothing said about it.
    pub fn new(key: PolicyKey, statement: Statement) -> Self {
        Self { key, title: None, staged: false, template: false, certification: None, priority: 0, statement }
    }

    /// Whether it is to do something.
    pub fn is_in_effect(&self) -> bool {
        !self.staged && !self.template
    }
}

/// What one English sentence says.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub body: Body,
    pub on: Circumstances,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Who may use a data source at all.
    Subscribe(Subscribe),
    /// What a subscriber sees of it.
    Data(Cascade),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    pub who: Subscribers,
    pub merge: Merge,
}

/// How several subscription policies on one source combine: all the required ones, and one of the shared ones if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Merge {
    #[default]
    Share,
    Require,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Subscribers {
    Anyone,
    When(Condition),
    /// Anyone whose request all of these approved. Never empty.
    Asking(Vec<Approver>),
    /// Only those whom an owner or governor selects, one by one.
    Selected,
}

/// Who has to agree to a request for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approver {
    /// An owner of the data source.
    Owner,
    /// Somebody who has the permission.
    Holder(Permission),
    /// This one.
    Person(PrincipalId),
}

/// Rules read from the top; the first whose scope takes a person in is the one for that person. Every rule but the
/// last has the scope [`Scope::Who`]. Never empty; all its rules act on the same kind of thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub action: Action,
    pub scope: Scope,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Mask(MaskAction),
    ShowRows(RowCondition),
    /// Nobody reads the source who does not act under one of the purposes or one below. Never empty.
    LimitToPurposes(Vec<At<PurposeName>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct MaskAction {
    pub columns: Columns,
    pub method: At<Method>,
    /// What a column gets that the method does not fit: the first of these that does.
    pub or_else: Vec<At<Method>>,
    /// Mask only in rows for which this holds.
    pub when: Option<Predicate>,
}

impl MaskAction {
    /// The method and what stands in for it.
    pub fn methods(&self) -> impl Iterator<Item = &At<Method>> {
        std::iter::once(&self.method).chain(&self.or_else)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Columns {
    /// Never empty.
    Named(Vec<At<ColumnName>>),
    Tagged(At<Tag>),
    AnyTag,
    NoTags,
    /// Name matches the regular expression somewhere.
    NamedLike {
        pattern: At<String>,
        case_insensitive: bool,
    },
    All,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// HMAC-SHA-256, 64 hex digits.
    Hash,
    Null,
    Constant(Value),
    Round(RoundTo),
    /// To what the column's profile tells; see [`crate::bucket`].
    RoundByProfile,
    Regex {
        pattern: String,
        replacement: String,
        case_insensitive: bool,
        global: bool,
    },
    /// AES-SIV (RFC 5297): equal values stay equal, and who may unmask can turn them back.
    Reversible,
    /// FF1 (NIST SP 800-38G): length and kind of each character stay.
    FormatPreserving,
    /// NULL in all the columns of the action where their values occur together in fewer rows than this, at least 2.
    KAnonymous(u32),
    /// Keyed by row, so that the same row always gives the same answer.
    Randomized(Randomized),
    /// What the expression gives, in which `@column` is the value.
    Custom(Box<Predicate>),
}

/// How a value is replaced at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Randomized {
    /// So many percent of the values, a decimal number above 0 and at most 100, become one of these, each as likely.
    Replaced { percent: String, by: Vec<Value> },
    /// Moved by at most this positive decimal number, up or down, each distance as likely.
    Within(String),
    /// Moved by at most so many days.
    WithinDays(u32),
}

/// What to round to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundTo {
    /// Down to a multiple of this positive decimal number, such as `100` or `0.25`; kept as written.
    Number(String),
    /// Down to the start of the calendar unit.
    Calendar(CalendarUnit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarUnit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl CalendarUnit {
    pub const ALL: [CalendarUnit; 6] = [
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Week,
        CalendarUnit::Month,
        CalendarUnit::Quarter,
        CalendarUnit::Year,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            CalendarUnit::Hour => "hour",
            CalendarUnit::Day => "day",
            CalendarUnit::Week => "week",
            CalendarUnit::Month => "month",
            CalendarUnit::Quarter => "quarter",
            CalendarUnit::Year => "year",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum RowCondition {
    /// A group, or a value of an attribute, of the person equals the value in the column.
    Match {
        user: Match,
        column: MatchColumn,
    },
    Where(Predicate),
    /// By the source's event time.
    Time(TimeWindow),
    /// So many percent of the rows, a decimal number above 0 and below 100; by row key, always the same ones.
    Sample(At<String>),
}

/// Rows no older, or older, than so long before the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindow {
    pub newer: bool,
    pub ago: Ago,
}

/// A moment before the statement began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ago {
    /// At least 1.
    pub amount: u32,
    pub unit: TimeUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    Minute,
    Hour,
    Day,
    /// By the calendar, as is a year.
    Month,
    Year,
}

impl TimeUnit {
    pub const ALL: [TimeUnit; 5] = [TimeUnit::Minute, TimeUnit::Hour, TimeUnit::Day, TimeUnit::Month, TimeUnit::Year];

    pub fn as_str(self) -> &'static str {
        match self {
            TimeUnit::Minute => "minute",
            TimeUnit::Hour => "hour",
            TimeUnit::Day => "day",
            TimeUnit::Month => "month",
            TimeUnit::Year => "year",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    Group,
    Attribute(At<AttributeKey>),
    /// A purpose that the person acts under.
    Purpose,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MatchColumn {
    Named(At<ColumnName>),
    /// The one column of the source that carries the tag.
    Tagged(At<Tag>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    Everyone,
    EveryoneExcept(Condition),
    /// Others fall to the next rule; after the last one the policy says nothing about them.
    Who(Condition),
}

/// `Any` and `All` hold at least two conditions and never directly one of their own kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Test(Test),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    MemberOf(At<GroupName>),
    /// A value that ends in `.*` stands for every value below it.
    HasAttribute {
        key: At<AttributeKey>,
        value: String,
    },
    /// The person owns the data source.
    Owner,
    /// The person acts under the purpose or one below it.
    UnderPurpose(At<PurposeName>),
    Permitted(Permission),
}

/// On which data sources the policy holds.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Circumstances {
    #[default]
    AllSources,
    /// Never empty.
    Named(Vec<At<SourceName>>),
    /// Never empty.
    Any(Vec<Circumstance>),
    /// At least two; a single one is `Any`.
    All(Vec<Circumstance>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Circumstance {
    SourceTagged(At<Tag>),
    ColumnTagged(At<Tag>),
    ColumnNamedLike {
        pattern: At<String>,
        case_insensitive: bool,
    },
    /// Neither the source nor a column of it has a tag.
    NoTags,
    /// The source or a column of it has a tag.
    AnyTag,
    /// The source is in the schema.
    InSchema(At<String>),
    /// Owned by the user, or by a member of the group.
    OwnedBy(PrincipalSet),
    /// An owner of the source has chosen the policy for it.
    ChosenByOwner,
}

/// A custom condition over the columns of a row, as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    Literal(Value),
    Column(At<ColumnRef>),
    Compare {
        op: Compare,
        left: Box<Predicate>,
        right: Box<Predicate>,
    },
    Between {
        value: Box<Predicate>,
        low: Box<Predicate>,
        high: Box<Predicate>,
        negated: bool,
    },
    /// The list is never empty.
    In {
        value: Box<Predicate>,
        list: Vec<Predicate>,
        negated: bool,
    },
    /// `value IN (SELECT key FROM source WHERE filter)`.
    InLookup {
        value: Box<Predicate>,
        lookup: Box<LookupQuery>,
        negated: bool,
    },
    /// `EXISTS (SELECT … FROM source WHERE filter)`, tied to the row by equalities in the filter.
    Exists {
        lookup: Box<LookupQuery>,
        negated: bool,
    },
    Like {
        value: Box<Predicate>,
        pattern: Box<Predicate>,
        case_insensitive: bool,
        negated: bool,
    },
    IsNull {
        value: Box<Predicate>,
        negated: bool,
    },
    /// At least two.
    And(Vec<Predicate>),
    /// At least two.
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    Call {
        function: Function,
        args: Vec<Predicate>,
    },
    User(At<UserCall>),
}

/// `column`, `alias.column` or `schema.table.column`; for a part of a nested column, what is before the last dot is in
/// the qualifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    pub qualifier: Option<String>,
    pub name: ColumnName,
}

/// Another registered source, read with the policy's own authority: raw, whatever the person may see of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupQuery {
    pub source: At<SourceName>,
    pub alias: Option<String>,
    /// What `IN` compares with; absent under `EXISTS`.
    pub key: Option<Predicate>,
    pub filter: Option<Predicate>,
}

/// What a predicate may ask about the person and the source.
#[derive(Clone, Debug, PartialEq)]
pub enum UserCall {
    /// `@username`
    Username,
    /// `@iam`
    Iam,
    /// `@isInGroups('a', 'b')`: member of all of them.
    IsInGroups(Vec<GroupName>),
    /// `@hasAttribute('key', 'value')`
    HasAttribute(AttributeKey, String),
    /// `@attributeValuesContains('key', column)`; with a placeholder after it, that is the value of who has none.
    AttributeValuesContains(AttributeKey, Box<Predicate>, Option<String>),
    /// `@groupsContains(column)`, with or without a placeholder.
    GroupsContains(Box<Predicate>, Option<String>),
    /// `@purposesContains(column)`, with or without a placeholder.
    PurposesContains(Box<Predicate>, Option<String>),
    /// `@interpolatedComparison(column, '<=', '{username}…')`: true when it is true of one of the texts that the person
    /// gives, and false when she gives none.
    InterpolatedComparison { value: Box<Predicate>, op: Compare, text: Template },
    /// `@isUsingPurpose('purpose')`: acting under it or one below it.
    IsUsingPurpose(PurposeName),
    /// `@column`: the value that a custom function masks.
    MaskedColumn,
    /// `@columnTagged('tag')`: the column of the source that carries the tag.
    ColumnTagged(Tag),
    /// `@columnReference('name')`: a column by its exact name.
    ColumnReference(ColumnName),
}
