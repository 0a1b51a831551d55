//! The portable expression form in DataFusion's words.
//!
//! What comes out cannot fail on any row: literals are turned into the column's type here, sets are looked up by
//! key, and no cast stands on a column.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions::expr_fn;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Like, Operator, ScalarUDF, Volatility, create_udf, lit, when,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use weir_mask::{Keys, RowKey, Sampler};
use weir_model::{ColumnId, Value, ValueSet};
use weir_policy::ast::{CalendarUnit, RoundTo};
use weir_policy::{Compare, Function, Residual};

use crate::keyed;
use crate::keyset::{KeySet, in_key_set};
use crate::mask::CompiledMask;
use crate::row_key::RowKeys;

/// A residual that does not fit the table; a policy check should have refused it.
#[derive(Debug, thiserror::Error)]
#[error("an obligation cannot be carried out on this source: {0}")]
pub(crate) struct Unlowerable(pub(crate) String);

/// The columns of a raw table by id, and the key sets of the lookups of its obligations, in the order in which
/// [`lookups`] finds them.
pub(crate) struct Lowering<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) columns: &'a [(ColumnId, usize)],
    pub(crate) parts: &'a [weir_sources::RawPart],
    pub(crate) key_sets: std::vec::IntoIter<KeySet>,
    /// Those of the source, where something of it is sampled.
    pub(crate) keys: Option<&'a Keys>,
}

/// What has to be read before a residual can be lowered.
pub(crate) enum Need<'a> {
    Lookup(&'a weir_policy::Lookup<weir_policy::Nothing>),
    Frequent { columns: &'a [ColumnId], at_least: u32 },
}

/// What the residual needs, in the order in which lowering meets it. What a lookup needs inside belongs to the lookup.
pub(crate) fn needs<'a>(expr: &'a Residual, found: &mut Vec<Need<'a>>) {
    match expr {
        Residual::Literal(_) | Residual::Column(_) | Residual::Sampled { .. } => {}
        Residual::Frequent { columns, at_least } => found.push(Need::Frequent { columns, at_least: *at_least }),
        Residual::Compare { left, right, .. } => {
            needs(left, found);
            needs(right, found);
        }
        Residual::InList { value, .. }
        | Residual::InValues { value, .. }
        | Residual::Like { value, .. }
        | Residual::IsNull(value)
        | Residual::Not(value) => needs(value, found),
        Residual::Keyed { arms, .. } => arms.iter().for_each(|arm| needs(&arm.rest, found)),
        Residual::InLookup(lookup) => {
            lookup.keys.iter().for_each(|key| needs(&key.outer, found));
            found.push(Need::Lookup(lookup));
        }
        Residual::And(parts) | Residual::Or(parts) | Residual::Call { args: parts, .. } => {
            parts.iter().for_each(|part| needs(part, found));
        }
        Residual::User(never) => match *never {},
    }
}

impl Lowering<'_> {
    pub(crate) fn lower(&mut self, expr: &Residual) -> Result<Expr, Unlowerable> {
        Ok(match expr {
            Residual::Literal(value) => Expr::Literal(untyped(value)?, None),
            Residual::Column(id) => self.column(*id)?.0,
            Residual::Compare { op, left, right } => {
                let (left, right) = self.comparands(left, right)?;
                Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator(*op), Box::new(right)))
            }
            Residual::InList { value, list } => {
                let data_type = self.type_of(value)?;
                // A literal that the column's type cannot hold equals no value of the column.
                let list = list.iter().filter_map(|v| literal(v, data_type.as_ref())).collect();
                self.in_list(value, list)?
            }
            Residual::InValues { value, values } => {
                let data_type = self.type_of(value)?.unwrap_or(DataType::Utf8);
                self.in_list(value, read_as(values, &data_type))?
            }
            Residual::Keyed { columns, arms } => {
                let columns = columns.iter().map(|id| self.column(*id)).collect::<Result<Vec<_>, _>>()?;
                keyed::lower(&columns, arms, self)?
            }
            Residual::InLookup(lookup) => {
                let outer = lookup.keys.iter().map(|key| self.lower(&key.outer)).collect::<Result<Vec<_>, _>>()?;
                let set = self.key_sets.next().ok_or_else(|| Unlowerable("a lookup was not resolved".to_owned()))?;
                in_key_set(outer, set)
            }
            Residual::Frequent { columns, at_least: _ } => {
                let columns = columns.iter().map(|id| self.lower(&Residual::Column(*id))).collect::<Result<_, _>>()?;
                let set = self.key_sets.next().ok_or_else(|| Unlowerable("values were not counted".to_owned()))?;
                in_key_set(columns, set)
            }
            Residual::Sampled { columns, per_ten_thousand } => self.sampled(columns, *per_ten_thousand)?,
            Residual::Like { value, pattern, case_insensitive } => {
                let (value, pattern) = (Box::new(self.lower(value)?), Box::new(lit(pattern.as_str())));
                Expr::Like(Like::new(false, value, pattern, None, *case_insensitive))
            }
            Residual::IsNull(value) => Expr::IsNull(Box::new(self.lower(value)?)),
            Residual::And(parts) => self.chain(parts, Operator::And, true)?,
            Residual::Or(parts) => self.chain(parts, Operator::Or, false)?,
            Residual::Not(part) => Expr::Not(Box::new(self.lower(part)?)),
            Residual::Call { function, args, returns: _ } => self.call(*function, args)?,
            Residual::User(never) => match *never {},
        })
    }

    /// A column, or what is inside of one.
    pub(crate) fn column(&self, id: ColumnId) -> Result<(Expr, DataType), Unlowerable> {
        let missing = || Unlowerable(format!("it has no column with id {id}"));
        let field = |place: usize| self.schema.fields().get(place).ok_or_else(missing);
        if let Some((_, place)) = self.columns.iter().find(|(known, _)| *known == id) {
            let field = field(*place)?;
            return Ok((Expr::Column(Column::new_unqualified(field.name())), field.data_type().clone()));
        }
        let part = self.parts.iter().find(|part| part.id == id).ok_or_else(missing)?;
        let outer = field(part.place)?;
        let mut value = Expr::Column(Column::new_unqualified(outer.name()));
        let mut data_type = outer.data_type();
        for name in &part.path {
            let DataType::Struct(fields) = data_type else {
                return Err(Unlowerable(format!("a row has no single value with id {id}")));
            };
            data_type = fields.find(name).ok_or_else(missing)?.1.data_type();
            value = get_field(value, name.as_str());
        }
        Ok((value, data_type.clone()))
    }

    /// The type of a plain column; other expressions leave their literals to type coercion.
    fn type_of(&self, expr: &Residual) -> Result<Option<DataType>, Unlowerable> {
        match expr {
            Residual::Column(id) => Ok(Some(self.column(*id)?.1)),
            Residual::Call { returns, .. } => Ok(Some(weir_sources::arrow_type(returns))),
            Residual::Literal(_)
            | Residual::Compare { .. }
            | Residual::InList { .. }
            | Residual::InValues { .. }
            | Residual::Keyed { .. }
            | Residual::InLookup(_)
            | Residual::Frequent { .. }
            | Residual::Sampled { .. }
            | Residual::Like { .. }
            | Residual::IsNull(_)
            | Residual::And(_)
            | Residual::Or(_)
            | Residual::Not(_) => Ok(None),
            Residual::User(never) => match *never {},
        }
    }

    /// Two sides of a comparison; a literal takes the type of the column on the other side when it fits exactly.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only literals take the type of the other side")]
    fn comparands(&mut self, left: &Residual, right: &Residual) -> Result<(Expr, Expr), Unlowerable> {
        let side = |lowering: &mut Self, one: &Residual, other: &Residual| match one {
            Residual::Literal(value) => {
                let data_type = lowering.type_of(other)?;
                match literal(value, data_type.as_ref()) {
                    Some(scalar) => Ok(Expr::Literal(scalar, None)),
                    None => Ok(Expr::Literal(untyped(value)?, None)),
                }
            }
            other => lowering.lower(other),
        };
        Ok((side(self, left, right)?, side(self, right, left)?))
    }

    fn in_list(&mut self, value: &Residual, list: Vec<ScalarValue>) -> Result<Expr, Unlowerable> {
        let value = self.lower(value)?;
        if list.is_empty() {
            return Ok(lit(false));
        }
        let list = list.into_iter().map(|scalar| Expr::Literal(scalar, None)).collect();
        Ok(Expr::InList(InList::new(Box::new(value), list, false)))
    }

    fn chain(&mut self, parts: &[Residual], op: Operator, empty: bool) -> Result<Expr, Unlowerable> {
        let parts = parts.iter().map(|part| self.lower(part)).collect::<Result<Vec<_>, _>>()?;
        let join = |a, b| Expr::BinaryExpr(BinaryExpr::new(Box::new(a), op, Box::new(b)));
        Ok(parts.into_iter().reduce(join).unwrap_or_else(|| lit(empty)))
    }

    fn sampled(&self, columns: &[ColumnId], per_ten_thousand: u16) -> Result<Expr, Unlowerable> {
        let keys = self.keys.ok_or_else(|| Unlowerable("the key of the sample was not asked for".to_owned()))?;
        let sampler = Sampler::new(keys, per_ten_thousand);
        let columns = columns.iter().map(|id| self.column(*id)).collect::<Result<Vec<_>, _>>()?;
        let types = columns.iter().map(|(_, data_type)| data_type.clone()).collect();
        let keeps = move |columns: &[ArrayRef]| {
            let keys = RowKeys::new(columns)?;
            let rows = columns.first().map_or(0, |column| column.len());
            let mut key = RowKey::new();
            let kept = (0..rows).map(|row| {
                key.clear();
                keys.write(row, &mut key);
                Some(sampler.keeps(key.as_bytes()))
            });
            Ok(Arc::new(kept.collect::<BooleanArray>()) as ArrayRef)
        };
        let function = kernel("sampled", types, DataType::Boolean, keeps);
        Ok(function.call(columns.into_iter().map(|(column, _)| column).collect()))
    }

    /// Down to a multiple or to the start of a calendar unit, as the rounding mask does.
    fn round_down(&mut self, args: &[Residual]) -> Result<Expr, Unlowerable> {
        let wrong = || Unlowerable("a call of round_down that is none".to_owned());
        let [value, step] = args else { return Err(wrong()) };
        let Residual::Literal(step) = step else { return Err(wrong()) };
        let to = match step {
            Value::Int(n) => RoundTo::Number(n.to_string()),
            Value::Number(n) => RoundTo::Number(n.clone()),
            Value::Text(unit) => {
                let unit = CalendarUnit::ALL.into_iter().find(|known| known.as_str() == unit).ok_or_else(wrong)?;
                RoundTo::Calendar(unit)
            }
            Value::Null | Value::Boolean(_) | Value::Date(_) | Value::Timestamp(_) => return Err(wrong()),
        };
        let data_type = self.type_of(value)?.ok_or_else(wrong)?;
        let mask = CompiledMask::rounding(&to, &data_type).map_err(|e| Unlowerable(e.to_string()))?;
        let round = move |columns: &[ArrayRef]| match columns {
            [values] => mask.apply(values, &[]),
            _ => Err(ArrowError::InvalidArgumentError("round_down takes one column".to_owned())),
        };
        let function = kernel("round_down", vec![data_type.clone()], data_type, round);
        Ok(function.call(vec![self.lower(value)?]))
    }

    fn call(&mut self, function: Function, args: &[Residual]) -> Result<Expr, Unlowerable> {
        if function == Function::RoundDown {
            return self.round_down(args);
        }
        let mut args = args.iter().map(|arg| self.lower(arg)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let arity = || Unlowerable(format!("`{}` has a wrong number of arguments", function.as_str()));
        let mut next = || args.next().ok_or_else(arity);
        Ok(match function {
            Function::Lower => expr_fn::lower(next()?),
            Function::Upper => expr_fn::upper(next()?),
            Function::Length => expr_fn::character_length(next()?),
            Function::StartsWith => expr_fn::starts_with(next()?, next()?),
            Function::Substring => expr_fn::substring(next()?, next()?, next()?),
            Function::Trim => expr_fn::btrim(vec![next()?]),
            Function::Left => expr_fn::left(next()?, next()?),
            Function::Right => expr_fn::right(next()?, next()?),
            Function::If => when(next()?, next()?).otherwise(next()?).map_err(|e| Unlowerable(e.to_string()))?,
            // The engine's own `concat` takes NULL for nothing.
            Function::Concat => {
                let join = |a, b| Expr::BinaryExpr(BinaryExpr::new(Box::new(a), Operator::StringConcat, Box::new(b)));
                args.reduce(join).ok_or_else(arity)?
            }
            Function::RoundDown => return Err(arity()),
            // The engine's own `coalesce` is not made to be evaluated: it counts on being rewritten like this.
            Function::Coalesce => {
                let mut args: Vec<Expr> = args.collect();
                let last = args.pop().ok_or_else(arity)?;
                let case = |rest: Expr, arg: Expr| when(arg.clone().is_not_null(), arg).otherwise(rest);
                args.into_iter().rev().try_fold(last, case).map_err(|e| Unlowerable(e.to_string()))?
            }
        })
    }
}

/// A function of whole columns, of exactly these types.
fn kernel(
    name: &str,
    takes: Vec<DataType>,
    gives: DataType,
    of: impl Fn(&[ArrayRef]) -> Result<ArrayRef, ArrowError> + Send + Sync + 'static,
) -> ScalarUDF {
    let of = move |args: &[ColumnarValue]| {
        let columns = ColumnarValue::values_to_arrays(args)?;
        Ok(ColumnarValue::Array(of(&columns)?))
    };
    create_udf(name, takes, gives, Volatility::Immutable, Arc::new(of))
}

/// With the types of every comparison made equal. Physical expressions are coerced when they are made; a condition that
/// a raw scan prunes partitions by is not.
pub(crate) fn coerced(expr: Expr, schema: &DFSchema) -> datafusion::common::Result<Expr> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    ExprSimplifier::new(context).coerce(expr, schema)
}

fn operator(op: Compare) -> Operator {
    match op {
        Compare::Equal => Operator::Eq,
        Compare::NotEqual => Operator::NotEq,
        Compare::Less => Operator::Lt,
        Compare::LessOrEqual => Operator::LtEq,
        Compare::Greater => Operator::Gt,
        Compare::GreaterOrEqual => Operator::GtEq,
    }
}

fn untyped(value: &Value) -> Result<ScalarValue, Unlowerable> {
    Ok(match value {
        Value::Null => ScalarValue::Null,
        Value::Boolean(b) => ScalarValue::Boolean(Some(*b)),
        Value::Int(n) => ScalarValue::Int64(Some(*n)),
        Value::Number(n) => number(n).ok_or_else(|| Unlowerable(format!("`{n}` is not a number")))?,
        Value::Text(t) => ScalarValue::Utf8(Some(t.clone())),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Timestamp(us) => ScalarValue::TimestampMicrosecond(Some(*us), None),
    })
}

/// Decimals keep every digit; what is written with an exponent or too long is a double.
fn number(text: &str) -> Option<ScalarValue> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    match (digits.parse::<i128>(), i8::try_from(fraction.len())) {
        (Ok(units), Ok(scale)) if digits.trim_start_matches('-').len() <= 38 => {
            Some(ScalarValue::Decimal128(Some(units), 38, scale))
        }
        _ => text.parse().ok().map(|n| ScalarValue::Float64(Some(n))),
    }
}

/// The literal as a value of `data_type`, when it is exactly that.
fn literal(value: &Value, data_type: Option<&DataType>) -> Option<ScalarValue> {
    match data_type {
        Some(data_type) => scalar(value, data_type),
        None => untyped(value).ok(),
    }
}

/// The literal as a value of `data_type`; `None` when the type cannot hold it exactly.
pub(crate) fn scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    // The commonest of a long list, without a way through arrays.
    match (value, data_type) {
        (Value::Int(n), DataType::Int64) => return Some(ScalarValue::Int64(Some(*n))),
        (Value::Date(days), DataType::Date32) => return Some(ScalarValue::Date32(Some(*days))),
        (Value::Text(text), DataType::Utf8) => return Some(ScalarValue::Utf8(Some(text.clone()))),
        (Value::Text(text), DataType::Utf8View) => return Some(ScalarValue::Utf8View(Some(text.clone()))),
        _ => {}
    }
    let plain = untyped(value).ok()?;
    if plain.is_null() {
        return ScalarValue::try_from(data_type).ok();
    }
    let cast = plain.cast_to(data_type).ok().filter(|cast| !cast.is_null())?;
    let back = cast.cast_to(&plain.data_type()).ok()?;
    // A float holds the nearest number; everything else has to come back as it was.
    (data_type.is_floating() || back == plain).then_some(cast)
}

/// The person's values as values of `data_type`; those that cannot be read as that type equal nothing.
fn read_as(values: &ValueSet, data_type: &DataType) -> Vec<ScalarValue> {
    let read = |text: &String| {
        if matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)) {
            return ScalarValue::Utf8(Some(text.clone())).cast_to(data_type).ok();
        }
        let value = if data_type.is_integer() {
            Value::Int(text.parse().ok()?)
        } else if data_type.is_floating() || data_type.is_decimal() {
            text.parse::<f64>().ok()?;
            Value::Number(text.clone())
        } else if *data_type == DataType::Boolean {
            Value::Boolean(text.parse().ok()?)
        } else {
            let parsed = ScalarValue::try_from_string(text.clone(), data_type).ok()?;
            return (!parsed.is_null()).then_some(parsed);
        };
        scalar(&value, data_type)
    };
    values.as_slice().iter().filter_map(read).collect()
}
