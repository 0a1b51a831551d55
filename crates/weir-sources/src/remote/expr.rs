//! Expressions of the engine in a database's words: only those that mean exactly the same there, and that fail on no
//! value, so that it does not matter which rows they are evaluated on, or in which order.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named stays here")]

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType as Arrow;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use weir_model::DatabaseKind;

use super::dialect::{Dialect, Digits, digits, is_whole, whole_digits};
use super::sql::{Param, Sql};

/// An expression over there, and what it gives.
#[derive(Clone, Debug)]
pub struct Term {
    pub(super) sql: Sql,
    pub(super) data_type: Arrow,
    pub(super) dialect: Dialect,
    /// Of a decimal before its point, at most.
    pub(super) whole: u32,
    /// A text as the database has it.
    pub(super) plain: Option<Plain>,
}

/// Texts that are equal by their bytes are equal when they are compared like this; in PostgreSQL, no others are.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) sql: Sql,
    /// None for a constant, which is compared by that of the other side.
    pub(super) collation: Option<Arc<str>>,
}

/// Keys of a function that asks whether its only argument is among them.
pub type Keys<'a> = &'a dyn Fn(&ScalarFunctionExpr) -> Option<Vec<i64>>;

/// Translates over columns of which some can be had over there.
#[derive(Clone, Copy)]
pub struct Translator<'a> {
    pub(super) columns: &'a [Option<Term>],
    pub(super) keys: Keys<'a>,
    pub(super) dialect: Dialect,
}

impl Term {
    pub fn data_type(&self) -> &Arrow {
        &self.data_type
    }

    /// That the two are equal; two NULLs too, when they are to.
    pub fn equals(&self, other: &Term, nulls: bool) -> Option<Self> {
        if !nulls {
            return equal(self, other);
        }
        let (left, right) = equated(self, other)?;
        Some(self.dialect.condition(self.dialect.is_same(left, right)))
    }

    /// That all of the conditions hold.
    pub fn all(conditions: Vec<Term>) -> Option<Self> {
        let dialect = conditions.first()?.dialect;
        let all = Sql::joined(conditions.into_iter().map(|condition| condition.sql), " AND ");
        Some(dialect.condition(all.in_parentheses()))
    }

    fn digits(&self) -> Option<Digits> {
        let Arrow::Decimal128(_, scale) = self.data_type else { return None };
        Some(Digits { whole: self.whole, scale: u32::try_from(scale).ok()? })
    }

    /// So that equal means equal bytes, and nothing else.
    pub(super) fn by_bytes(&self) -> Sql {
        match &self.plain {
            Some(Plain { collation: Some(_), .. }) => self.sql.clone(),
            Some(_) | None => self.collated(),
        }
    }

    /// By the order of bytes.
    pub(super) fn collated(&self) -> Sql {
        match self.data_type {
            Arrow::Utf8 => self.dialect.by_bytes(self.sql.clone()),
            _ => self.sql.clone(),
        }
    }

    /// Down to a multiple of `bucket / 10^scale`, which is positive, counted from zero.
    pub fn rounded_down(&self, bucket: i128) -> Option<Self> {
        let Arrow::Decimal128(precision, scale) = self.data_type else { return None };
        let bucket = self.dialect.literal(&ScalarValue::Decimal128(Some(bucket), precision, scale))?;
        self.dialect.calculated(self.digits()?, " - ", bucket.digits()?)?;
        let (x, bucket) = (|| self.sql.clone(), || bucket.sql.clone());
        let rest = || x().then(" % ").then(bucket());
        // The rest has the sign of the number.
        let below = x().then(" - ((").then(rest()).then(") + ").then(bucket()).then(") % ").then(bucket());
        let sql = Sql::from("CASE WHEN ").then(x()).then(" < 0 THEN ").then(below);
        let sql = sql.then(" ELSE ").then(x()).then(" - ").then(rest()).then(" END").in_parentheses();
        Some(Self { sql, whole: self.whole + 1, ..self.clone() })
    }

    /// The first value whose condition is true, else the last.
    pub fn choice(arms: Vec<(Term, Term)>, otherwise: Term) -> Option<Self> {
        let same = arms.iter().all(|(_, value)| value.data_type == otherwise.data_type);
        let mut sql = Sql::from("CASE");
        let mut whole = otherwise.whole;
        for (when, value) in &arms {
            sql = sql.then(" WHEN ").then(when.sql.clone()).then(" THEN ").then(value.sql.clone());
            whole = whole.max(value.whole);
        }
        let sql = sql.then(" ELSE ").then(otherwise.sql).then(" END").in_parentheses();
        let (data_type, dialect) = (otherwise.data_type, otherwise.dialect);
        same.then_some(Self { sql, data_type, dialect, whole, plain: None })
    }
}

impl Dialect {
    fn condition(self, sql: Sql) -> Term {
        Term { sql, data_type: Arrow::Boolean, dialect: self, whole: 0, plain: None }
    }

    /// The constant, as a value of the type.
    fn literal(self, value: &ScalarValue) -> Option<Term> {
        let data_type = value.data_type();
        let sql = if value.is_null() { self.null(&data_type)? } else { self.constant(value)? };
        let plain = match value {
            ScalarValue::Utf8(Some(text)) => {
                Some(Plain { sql: Sql::param(Param::Text(text.clone())), collation: None })
            }
            _ => None,
        };
        let whole = match value {
            ScalarValue::Decimal128(Some(units), _, scale) => {
                digits(*units).saturating_sub(u32::try_from(*scale).ok()?).max(1)
            }
            _ => 0,
        };
        Some(Term { sql, data_type, dialect: self, whole, plain })
    }
}

impl Translator<'_> {
    /// The constant, as a value of the type.
    pub fn literal(&self, value: &ScalarValue) -> Option<Term> {
        self.dialect.literal(value)
    }

    /// The column of that number.
    pub fn column(&self, place: usize) -> Option<Term> {
        self.columns.get(place).cloned().flatten()
    }

    /// A condition.
    pub fn condition(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Term> {
        self.term(expr).filter(|term| term.data_type == Arrow::Boolean)
    }

    pub fn term(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Term> {
        let dialect = self.dialect;
        let expr: &dyn PhysicalExpr = expr.as_ref();
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.column(column.index());
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return self.literal(literal.value());
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return self.binary(*binary.op(), self.term(binary.left())?, self.term(binary.right())?);
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Some(dialect.condition(self.condition(not.arg())?.sql.between("(NOT ", ")")));
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
            return Some(dialect.condition(dialect.is_null(self.term(is_null.arg())?.sql)));
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>() {
            let is_null = dialect.is_null(self.term(is_not_null.arg())?.sql);
            return Some(dialect.condition(is_null.between("(NOT ", ")")));
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            return self.in_list(list);
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            let pattern = like.pattern().downcast_ref::<Literal>()?.value().try_as_str().flatten()?;
            let value = self.term(like.expr()).filter(|value| value.data_type == Arrow::Utf8)?;
            let like = (!like.case_insensitive()).then(|| dialect.like(value.sql, like.negated(), pattern))?;
            return like.map(|like| dialect.condition(like));
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return self.case(case);
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return widened(self.term(cast.expr())?, cast.cast_type());
        }
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        let ([value], keys) = (call.args(), (self.keys)(call)?) else { return None };
        let value = self.term(value).filter(|value| is_whole(&value.data_type))?;
        Some(dialect.condition(dialect.among(value.sql, keys)))
    }

    fn binary(&self, op: Operator, left: Term, right: Term) -> Option<Term> {
        let dialect = self.dialect;
        let infix =
            |left: Sql, op: &'static str, right: Sql| dialect.condition(left.then(op).then(right).in_parentheses());
        let ordered = |op: &'static str| {
            let texts = left.data_type == Arrow::Utf8;
            (comparable(&left, &right) && (!texts || dialect.utf8))
                .then(|| infix(left.collated(), op, right.collated()))
        };
        let same = || equated(&left, &right).map(|(left, right)| dialect.is_same(left, right));
        match op {
            Operator::And | Operator::Or if left.data_type == Arrow::Boolean && right.data_type == Arrow::Boolean => {
                Some(infix(left.sql, if op == Operator::And { " AND " } else { " OR " }, right.sql))
            }
            Operator::Eq => equal(&left, &right),
            Operator::NotEq => equated(&left, &right).map(|(left, right)| infix(left, " <> ", right)),
            Operator::IsDistinctFrom => same().map(|same| dialect.condition(same.between("(NOT ", ")"))),
            Operator::IsNotDistinctFrom => same().map(|same| dialect.condition(same)),
            Operator::Lt => ordered(" < "),
            Operator::LtEq => ordered(" <= "),
            Operator::Gt => ordered(" > "),
            Operator::GtEq => ordered(" >= "),
            Operator::Plus => calculated(left, " + ", right),
            Operator::Minus => calculated(left, " - ", right),
            Operator::Multiply => calculated(left, " * ", right),
            _ => None,
        }
    }

    fn in_list(&self, list: &InListExpr) -> Option<Term> {
        let value = self.term(list.expr())?;
        if list.list().is_empty() || list.list().len() > self.dialect.list_max() {
            return None;
        }
        let (mut items, mut quick) = (Vec::with_capacity(list.list().len()), Vec::new());
        for item in list.list() {
            let literal = item.downcast_ref::<Literal>()?.value();
            if literal.is_null() {
                return None;
            }
            let item = self.literal(literal)?;
            quick.extend(quickly(&value, &item));
            items.push(equated(&value, &item)?.1);
        }
        let op = if list.negated() { " NOT IN " } else { " IN " };
        let among = |value: Sql, op: &'static str, items: Vec<Sql>| {
            value.then(op).then(Sql::joined(items, ", ").in_parentheses())
        };
        let mut sql = among(value.by_bytes(), op, items);
        if let Some((value, _)) = quick.first().cloned()
            && !list.negated()
        {
            let items = quick.into_iter().map(|(_, item)| item).collect();
            sql = among(value, op, items).then(" AND ").then(sql);
        }
        Some(self.dialect.condition(sql.in_parentheses()))
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
            None => self.literal(&ScalarValue::try_from(first).ok()?)?,
        };
        Term::choice(arms, otherwise)
    }
}

/// The two sides of an equality, so that it means the same over there.
fn equated(left: &Term, right: &Term) -> Option<(Sql, Sql)> {
    if !comparable(left, right) {
        return None;
    }
    let plain = left.data_type != Arrow::Utf8 || plainly(left, right).is_some();
    Some(if plain { (left.sql.clone(), right.sql.clone()) } else { (left.collated(), right.collated()) })
}

fn equal(left: &Term, right: &Term) -> Option<Term> {
    let infix = |(left, right): (Sql, Sql)| left.then(" = ").then(right);
    let mut sql = infix(equated(left, right)?);
    if let Some(quick) = quickly(left, right) {
        sql = infix(quick).then(" AND ").then(sql);
    }
    Some(left.dialect.condition(sql.in_parentheses()))
}

/// The two texts as the database has them, when both are compared in one way.
fn plainly(left: &Term, right: &Term) -> Option<(Sql, Sql)> {
    let (l, r) = (left.plain.as_ref()?, right.plain.as_ref()?);
    let one_way = match (&l.collation, &r.collation) {
        (Some(left), Some(right)) => left == right,
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    };
    one_way.then(|| (l.sql.clone(), r.sql.clone()))
}

/// What holds whenever the two are equal, and is found by an index in MariaDB, where equality by bytes is not.
fn quickly(left: &Term, right: &Term) -> Option<(Sql, Sql)> {
    plainly(left, right).filter(|_| left.dialect.kind == DatabaseKind::Mariadb)
}

fn comparable(left: &Term, right: &Term) -> bool {
    let (l, r) = (&left.data_type, &right.data_type);
    if is_whole(l) || l.is_decimal() {
        return is_whole(r) || r.is_decimal();
    }
    l == r && left.dialect.is_exact(l)
}

fn calculated(left: Term, op: &'static str, right: Term) -> Option<Term> {
    let dialect = left.dialect;
    let (Arrow::Decimal128(p1, _), Arrow::Decimal128(p2, _)) = (&left.data_type, &right.data_type) else {
        return None;
    };
    let digits = dialect.calculated(left.digits()?, op, right.digits()?)?;
    // The engine's, but for the precision, which does not matter.
    let precision = if op == " * " { p1.saturating_add(*p2).saturating_add(1).min(38) } else { 38 };
    let scale = i8::try_from(digits.scale).ok().filter(|scale| *scale <= 38)?;
    let sql = left.sql.then(op).then(right.sql).in_parentheses();
    let data_type = Arrow::Decimal128(precision, scale);
    Some(Term { sql, data_type, dialect, whole: digits.whole, plain: None })
}

/// The same number in a type that holds all numbers of the one before.
fn widened(term: Term, to: &Arrow) -> Option<Term> {
    let Term { sql, data_type, dialect, .. } = term;
    if data_type == *to {
        return Some(Term { sql, data_type, ..term });
    }
    let decimal = |data_type: &Arrow| match data_type {
        Arrow::Decimal128(precision, scale) => {
            let scale = u32::try_from(*scale).ok()?;
            Some(Digits { whole: u32::from(*precision).checked_sub(scale)?, scale })
        }
        _ => whole_digits(data_type).map(|whole| Digits { whole, scale: 0 }),
    };
    let (before, now) = (decimal(&data_type)?, decimal(to)?);
    let signs = !to.is_unsigned_integer() || data_type.is_unsigned_integer();
    let signed_holds = !(data_type.is_unsigned_integer() && to.is_signed_integer()) || now.whole > before.whole;
    let holds = now.whole >= before.whole && now.scale >= before.scale && signs && signed_holds;
    if !holds || (is_whole(to) && !is_whole(&data_type)) {
        return None;
    }
    let whole = if is_whole(&data_type) { before.whole } else { term.whole };
    let sql = dialect.widened(sql, &data_type, before.whole, to)?;
    Some(Term { sql, data_type: to.clone(), dialect, whole, plain: None })
}
