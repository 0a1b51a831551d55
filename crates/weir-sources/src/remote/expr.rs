//! Expressions of the engine in PostgreSQL's words: only those that mean exactly the same there, and that fail on no
//! value, so that it does not matter which rows they are evaluated on, or in which order.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named stays here")]

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType as Arrow, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::sql::{Param, Sql};
use super::wire::Wire;

/// An expression over there, and what it gives.
#[derive(Clone, Debug)]
pub struct Term {
    pub(super) sql: Sql,
    pub(super) data_type: Arrow,
    pub(super) wire: Wire,
    pub(super) text: Text,
}

/// How a text is compared over there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// By a collation under which texts are equal only when their bytes are.
    Known(u32),
    /// As whatever it is compared with.
    Literal,
    /// By what is not known.
    Unknown,
}

/// Keys of a function that asks whether its only argument is among them.
pub type Keys<'a> = &'a dyn Fn(&ScalarFunctionExpr) -> Option<Vec<i64>>;

/// Translates over columns of which some can be had over there.
#[derive(Clone, Copy)]
pub struct Translator<'a> {
    pub columns: &'a [Option<Term>],
    pub keys: Keys<'a>,
    /// Bytes of texts over there are those of UTF-8.
    pub utf8: bool,
}

impl Term {
    pub fn data_type(&self) -> &Arrow {
        &self.data_type
    }

    /// That the two are equal; two NULLs too, when they are to.
    pub fn equals(&self, other: &Term, nulls: bool) -> Option<Self> {
        let (left, right) = equated(self, other)?;
        let op = if nulls { " IS NOT DISTINCT FROM " } else { " = " };
        Some(Self::condition(left.then(op).then(right).in_parentheses()))
    }

    /// That all of the conditions hold.
    pub fn all(conditions: Vec<Term>) -> Option<Self> {
        if conditions.is_empty() {
            return None;
        }
        let all = Sql::joined(conditions.into_iter().map(|condition| condition.sql), " AND ");
        Some(Self::condition(all.in_parentheses()))
    }

    fn condition(sql: Sql) -> Self {
        Self { sql, data_type: Arrow::Boolean, wire: Wire::Bool, text: Text::Unknown }
    }

    /// So that equal means equal bytes, and nothing else.
    pub(super) fn by_bytes(&self) -> Sql {
        match (&self.data_type, self.text) {
            (Arrow::Utf8, Text::Unknown | Text::Literal) => self.collated(),
            _ => self.sql.clone(),
        }
    }

    /// By the order of bytes.
    pub(super) fn collated(&self) -> Sql {
        match self.data_type {
            Arrow::Utf8 => self.sql.clone().then(" COLLATE \"C\"").in_parentheses(),
            _ => self.sql.clone(),
        }
    }

    /// The constant, as a value of the type.
    pub fn literal(value: &ScalarValue) -> Option<Self> {
        let data_type = value.data_type();
        let wire = wire_of(&data_type)?;
        let sql = if value.is_null() {
            Sql::text(format!("NULL::{}", type_name(&data_type)?))
        } else {
            Sql::param(param(value)?)
        };
        Some(Self { sql, data_type, wire, text: Text::Literal })
    }

    /// Down to a multiple of `bucket / 10^scale`, which is positive, counted from zero.
    pub fn rounded_down(&self, bucket: i128) -> Option<Self> {
        let Arrow::Decimal128(_, scale) = self.data_type else { return None };
        let bucket =
            || -> Option<Sql> { Some(Sql::param(Param::Numeric { units: bucket, scale: u8::try_from(scale).ok()? })) };
        let x = || self.sql.clone();
        let rest = || -> Option<Sql> { Some(x().then(" % ").then(bucket()?)) };
        // The rest has the sign of the number.
        let below = x().then(" - ((").then(rest()?).then(") + ").then(bucket()?).then(") % ").then(bucket()?);
        let sql = Sql::from("CASE WHEN ").then(x()).then(" < 0 THEN ").then(below);
        let sql = sql.then(" ELSE ").then(x()).then(" - ").then(rest()?).then(" END").in_parentheses();
        Some(Self { sql, ..self.clone() })
    }

    /// The first value whose condition is true, else the last.
    pub fn choice(arms: Vec<(Term, Term)>, otherwise: Term) -> Option<Self> {
        let same = arms.iter().all(|(_, value)| value.data_type == otherwise.data_type);
        let mut sql = Sql::from("CASE");
        for (when, value) in &arms {
            sql = sql.then(" WHEN ").then(when.sql.clone()).then(" THEN ").then(value.sql.clone());
        }
        let sql = sql.then(" ELSE ").then(otherwise.sql).then(" END").in_parentheses();
        same.then_some(Self { sql, data_type: otherwise.data_type, wire: otherwise.wire, text: Text::Unknown })
    }
}

impl Translator<'_> {
    /// A condition.
    pub fn condition(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Term> {
        self.term(expr).filter(|term| term.data_type == Arrow::Boolean)
    }

    pub fn term(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Term> {
        let expr: &dyn PhysicalExpr = expr.as_ref();
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.columns.get(column.index()).cloned().flatten();
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return Term::literal(literal.value());
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return self.binary(*binary.op(), self.term(binary.left())?, self.term(binary.right())?);
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            let arg = self.condition(not.arg())?;
            return Some(Term::condition(Sql::from("NOT ").then(arg.sql).in_parentheses()));
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
            return Some(Term::condition(self.term(is_null.arg())?.sql.then(" IS NULL").in_parentheses()));
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>() {
            return Some(Term::condition(self.term(is_not_null.arg())?.sql.then(" IS NOT NULL").in_parentheses()));
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            return self.in_list(list);
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            return self.like(like);
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return self.case(case);
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return widened(self.term(cast.expr())?, cast.cast_type());
        }
        self.among_keys(expr.downcast_ref::<ScalarFunctionExpr>()?)
    }

    fn binary(&self, op: Operator, left: Term, right: Term) -> Option<Term> {
        let infix = |left: Sql, op: &'static str, right: Sql| left.then(op).then(right).in_parentheses();
        let compared = |op: &'static str| {
            let (l, r) = equated(&left, &right)?;
            Some(Term::condition(infix(l, op, r)))
        };
        let ordered = |op: &'static str| {
            let texts = left.data_type == Arrow::Utf8;
            (comparable(&left, &right) && (!texts || self.utf8))
                .then(|| Term::condition(infix(left.collated(), op, right.collated())))
        };
        match op {
            Operator::And | Operator::Or if left.wire == Wire::Bool && right.wire == Wire::Bool => {
                let op = if op == Operator::And { " AND " } else { " OR " };
                Some(Term::condition(infix(left.sql, op, right.sql)))
            }
            Operator::Eq => compared(" = "),
            Operator::NotEq => compared(" <> "),
            Operator::IsDistinctFrom => compared(" IS DISTINCT FROM "),
            Operator::IsNotDistinctFrom => compared(" IS NOT DISTINCT FROM "),
            Operator::Lt => ordered(" < "),
            Operator::LtEq => ordered(" <= "),
            Operator::Gt => ordered(" > "),
            Operator::GtEq => ordered(" >= "),
            Operator::Plus => calculated(left, " + ", right, |l, r| l.max(r)),
            Operator::Minus => calculated(left, " - ", right, |l, r| l.max(r)),
            Operator::Multiply => calculated(left, " * ", right, |l, r| l + r),
            _ => None,
        }
    }

    fn in_list(&self, list: &InListExpr) -> Option<Term> {
        let value = self.term(list.expr())?;
        let mut items = Vec::with_capacity(list.list().len());
        for item in list.list() {
            let literal = item.downcast_ref::<Literal>()?.value();
            if literal.is_null() {
                return None;
            }
            let (_, item) = equated(&value, &Term::literal(literal)?)?;
            items.push(item);
        }
        if items.is_empty() {
            return None;
        }
        let op = if list.negated() { " NOT IN " } else { " IN " };
        let items = Sql::joined(items, ", ").in_parentheses();
        Some(Term::condition(value.by_bytes().then(op).then(items).in_parentheses()))
    }

    /// Without anything to be escaped: what an escape does at the end of a pattern is an error over there.
    fn like(&self, like: &LikeExpr) -> Option<Term> {
        let pattern = like.pattern().downcast_ref::<Literal>()?.value();
        let pattern = pattern.try_as_str().flatten().filter(|pattern| !pattern.contains('\\'))?;
        let value = self.term(like.expr()).filter(|value| value.data_type == Arrow::Utf8)?;
        if like.case_insensitive() || !self.utf8 {
            return None;
        }
        let op = if like.negated() { " NOT LIKE " } else { " LIKE " };
        let pattern = Sql::param(Param::Text(pattern.to_owned()));
        Some(Term::condition(value.collated().then(op).then(pattern).in_parentheses()))
    }

    fn case(&self, case: &CaseExpr) -> Option<Term> {
        let subject = match case.expr() {
            Some(subject) => Some(self.term(subject)?),
            None => None,
        };
        let mut arms = Vec::new();
        for (when, then) in case.when_then_expr() {
            let when = self.term(when)?;
            let when = match &subject {
                Some(subject) => self.binary(Operator::Eq, subject.clone(), when)?,
                None => Some(when).filter(|when| when.data_type == Arrow::Boolean)?,
            };
            arms.push((when, self.term(then)?));
        }
        let first = &arms.first()?.1.data_type;
        let otherwise = match case.else_expr() {
            Some(otherwise) => self.term(otherwise)?,
            None => Term::literal(&ScalarValue::try_from(first).ok()?)?,
        };
        Term::choice(arms, otherwise)
    }

    fn among_keys(&self, call: &ScalarFunctionExpr) -> Option<Term> {
        let keys = (self.keys)(call)?;
        let [value] = call.args() else { return None };
        let value = self.term(value).filter(|value| is_whole(&value.data_type))?;
        let keys = Sql::from("ANY (").then(Sql::param(Param::Keys(keys))).then(")");
        Some(Term::condition(value.sql.then(" = ").then(keys).in_parentheses()))
    }
}

/// The two sides of an equality, so that it means the same over there.
pub(super) fn equated(left: &Term, right: &Term) -> Option<(Sql, Sql)> {
    if !comparable(left, right) {
        return None;
    }
    let plain = match (left.text, right.text) {
        (Text::Known(left), Text::Known(right)) => left == right,
        (Text::Known(_), Text::Literal) | (Text::Literal, Text::Known(_)) => true,
        _ => left.data_type != Arrow::Utf8,
    };
    Some(if plain { (left.sql.clone(), right.sql.clone()) } else { (left.collated(), right.collated()) })
}

/// Floats are not: `-0` and `0` differ here.
fn comparable(left: &Term, right: &Term) -> bool {
    let (l, r) = (&left.data_type, &right.data_type);
    if is_whole(l) || l.is_decimal() {
        return is_whole(r) || r.is_decimal();
    }
    l == r && is_exact(l)
}

/// Equal values look the same, and they are in the same order here and there, texts by their bytes.
pub(super) fn is_exact(data_type: &Arrow) -> bool {
    is_whole(data_type)
        || data_type.is_decimal()
        || matches!(
            data_type,
            Arrow::Boolean
                | Arrow::Utf8
                | Arrow::Binary
                | Arrow::Date32
                | Arrow::Time64(TimeUnit::Microsecond)
                | Arrow::Timestamp(TimeUnit::Microsecond, _)
        )
}

pub(super) fn is_whole(data_type: &Arrow) -> bool {
    matches!(data_type, Arrow::Int16 | Arrow::Int32 | Arrow::Int64)
}

/// Decimals only, where nothing is cut off: over there they have as many digits as they need.
fn calculated(left: Term, op: &'static str, right: Term, scale: impl Fn(i8, i8) -> i8) -> Option<Term> {
    let (Arrow::Decimal128(p1, s1), Arrow::Decimal128(p2, s2)) = (&left.data_type, &right.data_type) else {
        return None;
    };
    let scale = scale(*s1, *s2);
    // The engine's, but for the precision, which does not matter.
    let precision = if op == " * " { p1.saturating_add(*p2).saturating_add(1) } else { 38 };
    let data_type = (0..=38).contains(&scale).then_some(Arrow::Decimal128(precision.min(38), scale))?;
    let sql = left.sql.then(op).then(right.sql).in_parentheses();
    Some(Term { sql, data_type, wire: Wire::Numeric, text: Text::Unknown })
}

/// The same number in a type that holds all numbers of the one before.
fn widened(term: Term, to: &Arrow) -> Option<Term> {
    let digits = |data_type: &Arrow| match data_type {
        Arrow::Int16 => Some((5, 0)),
        Arrow::Int32 => Some((10, 0)),
        Arrow::Int64 => Some((19, 0)),
        Arrow::Decimal128(precision, scale) => Some((i16::from(*precision) - i16::from(*scale), *scale)),
        _ => None,
    };
    if term.data_type == *to {
        return Some(term);
    }
    let ((whole, scale), (whole_to, scale_to)) = (digits(&term.data_type)?, digits(to)?);
    if whole_to < whole || scale_to < scale || (is_whole(to) && !is_whole(&term.data_type)) {
        return None;
    }
    let wire = wire_of(to)?;
    let sql =
        if wire == term.wire { term.sql } else { term.sql.then("::").then(Sql::text(type_name(to)?)).in_parentheses() };
    Some(Term { sql, data_type: to.clone(), wire, text: Text::Unknown })
}

pub(super) fn wire_of(data_type: &Arrow) -> Option<Wire> {
    Some(match data_type {
        Arrow::Boolean => Wire::Bool,
        Arrow::Int16 => Wire::Int2,
        Arrow::Int32 => Wire::Int4,
        Arrow::Int64 => Wire::Int8,
        Arrow::Decimal128(..) => Wire::Numeric,
        Arrow::Utf8 => Wire::Text,
        Arrow::Binary => Wire::Bytea,
        Arrow::Date32 => Wire::Date,
        Arrow::Time64(TimeUnit::Microsecond) => Wire::Time,
        Arrow::Timestamp(TimeUnit::Microsecond, None) => Wire::Timestamp,
        Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => Wire::Timestamptz,
        _ => return None,
    })
}

fn type_name(data_type: &Arrow) -> Option<&'static str> {
    Some(match wire_of(data_type)? {
        Wire::Bool => "bool",
        Wire::Int2 => "int2",
        Wire::Int4 => "int4",
        Wire::Int8 => "int8",
        Wire::Numeric => "numeric",
        Wire::Text => "text",
        Wire::Bytea => "bytea",
        Wire::Date => "date",
        Wire::Time => "time",
        Wire::Timestamp => "timestamp",
        Wire::Timestamptz => "timestamptz",
        Wire::Float4 | Wire::Float8 | Wire::List(_) => return None,
    })
}

fn param(value: &ScalarValue) -> Option<Param> {
    Some(match value {
        ScalarValue::Boolean(b) => Param::Bool((*b)?),
        ScalarValue::Int16(n) => Param::Int2((*n)?),
        ScalarValue::Int32(n) => Param::Int4((*n)?),
        ScalarValue::Int64(n) => Param::Int8((*n)?),
        ScalarValue::Decimal128(units, _, scale) => {
            Param::Numeric { units: (*units)?, scale: u8::try_from(*scale).ok()? }
        }
        // PostgreSQL has no texts with NUL; nothing there equals one.
        ScalarValue::Utf8(text) => Param::Text(text.clone().filter(|text| !text.contains('\0'))?),
        ScalarValue::Binary(bytes) => Param::Bytea(bytes.clone()?),
        ScalarValue::Date32(days) => Param::Date((*days).filter(|days| DAYS.contains(days))?),
        ScalarValue::Time64Microsecond(micros) => Param::Time((*micros)?),
        ScalarValue::TimestampMicrosecond(micros, zone) => {
            let micros = (*micros).filter(|micros| MICROS.contains(micros))?;
            Param::Timestamp { micros, zoned: zone.is_some() }
        }
        _ => return None,
    })
}

/// From 4714 BC, before which PostgreSQL knows no dates, to 294276.
const DAYS: std::ops::Range<i32> = -2_440_587..106_751_991;
const MICROS: std::ops::Range<i64> = -2_440_587 * 86_400_000_000..106_751_990 * 86_400_000_000;
