//! Conditions and masks of a decision as SQL of PostgreSQL; `None` for what has no equivalent there.

use weir_model::{Column, ColumnId, DataSource, DataType, SourceId, Value};
use weir_policy::{AppliedMask, Expr, Function, Lookup, Mask, Nothing, Residual};

/// The schema of the raw tables, which readers have no right to.
pub(crate) const RAW: &str = "raw";

pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn raw_table(source: SourceId) -> String {
    format!("{RAW}.s{source}")
}

pub(crate) fn type_of(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal { precision, scale } => format!("numeric({precision}, {scale})"),
        DataType::Text => "text".to_owned(),
        DataType::Date => "date".to_owned(),
        DataType::Timestamp { zoned: false } => "timestamp".to_owned(),
        _ => return None,
    })
}

/// Rows of a source under a name.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) sources: &'a [DataSource],
    pub(crate) source: &'a DataSource,
    pub(crate) alias: &'a str,
}

impl Scope<'_> {
    fn place(&self, id: ColumnId) -> Option<&Column> {
        self.source.column_by_id(id)
    }

    fn column(&self, id: ColumnId) -> Option<String> {
        Some(format!("{}.{}", self.alias, identifier(self.place(id)?.name.as_str())))
    }

    /// What stands in the place of a column's value.
    pub(crate) fn masked(&self, column: &Column, applied: &AppliedMask) -> Option<String> {
        let data_type = type_of(&column.data_type)?;
        let mask = match &applied.mask {
            Mask::Null => format!("NULL::{data_type}"),
            Mask::Constant(value) => format!("({})::{data_type}", literal(value)?),
            Mask::Computed(expression) => format!("({})::{data_type}", self.expression(expression)?),
            _ => return None,
        };
        let Some(when) = &applied.when else { return Some(mask) };
        let otherwise = match &applied.otherwise {
            Some(next) => self.masked(column, next)?,
            None => self.column(column.id)?,
        };
        Some(format!("CASE WHEN {} THEN {mask} ELSE {otherwise} END", self.expression(when)?))
    }

    pub(crate) fn expression(&self, expression: &Residual) -> Option<String> {
        let all = |parts: &[Residual], word: &str| {
            let parts: Option<Vec<String>> = parts.iter().map(|part| self.expression(part)).collect();
            Some(format!("({})", parts?.join(word)))
        };
        Some(match expression {
            Expr::Literal(value) => literal(value)?,
            Expr::Column(id) => self.column(*id)?,
            Expr::Compare { op, left, right } => {
                format!("({} {} {})", self.expression(left)?, op.as_str(), self.expression(right)?)
            }
            Expr::InList { value, list } => {
                let list: Option<Vec<String>> = list.iter().map(literal).collect();
                format!("({} IN ({}))", self.expression(value)?, list?.join(", "))
            }
            Expr::InValues { value, values } => match value.as_ref() {
                // Of other types, only some of the values can be read.
                Expr::Column(id) if self.place(*id)?.data_type == DataType::Text && !values.is_empty() => {
                    let list = values.as_slice().iter().map(|value| literal(&Value::Text(value.clone())));
                    format!("({} IN ({}))", self.column(*id)?, list.collect::<Option<Vec<_>>>()?.join(", "))
                }
                _ => return None,
            },
            Expr::Keyed { columns, arms } => {
                let arm = |arm: &weir_policy::KeyedArm<Nothing>| {
                    let mut parts = Vec::new();
                    for (id, key) in columns.iter().zip(&arm.key) {
                        parts.push(format!("{} = {}", self.column(*id)?, literal(key)?));
                    }
                    parts.push(self.expression(&arm.rest)?);
                    Some(format!("({})", parts.join(" AND ")))
                };
                format!("({})", arms.iter().map(arm).collect::<Option<Vec<_>>>()?.join(" OR "))
            }
            Expr::InLookup(lookup) => self.lookup(lookup)?,
            Expr::Frequent { columns, at_least } => {
                let alias = format!("{}f", self.alias);
                let mut same = Vec::new();
                for id in columns {
                    let name = identifier(self.place(*id)?.name.as_str());
                    same.push(format!("{alias}.{name} IS NOT DISTINCT FROM {}", self.column(*id)?));
                }
                let table = raw_table(self.source.id);
                format!("((SELECT count(*) FROM {table} AS {alias} WHERE {}) >= {at_least})", same.join(" AND "))
            }
            Expr::Like { value, pattern, case_insensitive } => {
                if pattern.contains('\\') {
                    return None;
                }
                let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
                format!("({} {like} {})", self.expression(value)?, literal(&Value::Text(pattern.clone()))?)
            }
            Expr::IsNull(part) => format!("({} IS NULL)", self.expression(part)?),
            Expr::And(parts) => all(parts, " AND ")?,
            Expr::Or(parts) => all(parts, " OR ")?,
            Expr::Not(part) => format!("(NOT {})", self.expression(part)?),
            Expr::Call { function, args, returns: _ } => self.call(*function, args)?,
            // Which rows are in a sample is decided by a key.
            Expr::Sampled { .. } => return None,
            Expr::User(nothing) => match *nothing {},
        })
    }

    fn lookup(&self, lookup: &Lookup<Nothing>) -> Option<String> {
        let source = self.sources.iter().find(|source| source.id == lookup.source)?;
        let alias = format!("{}l", self.alias);
        let inner = Scope { sources: self.sources, source, alias: &alias };
        let (mut nulls, mut tests) = (Vec::new(), Vec::new());
        for key in &lookup.keys {
            let outer = self.expression(&key.outer)?;
            tests.push(format!("{} = {outer}", inner.expression(&key.inner)?));
            nulls.push(format!("{outer} IS NULL"));
        }
        tests.push(inner.expression(&lookup.filter)?);
        let table = raw_table(lookup.source);
        let found = format!("EXISTS (SELECT 1 FROM {table} AS {alias} WHERE {})", tests.join(" AND "));
        Some(format!("(CASE WHEN {} THEN NULL ELSE {found} END)", nulls.join(" OR ")))
    }

    fn call(&self, function: Function, args: &[Residual]) -> Option<String> {
        let args: Vec<String> = args.iter().map(|arg| self.expression(arg)).collect::<Option<_>>()?;
        let list = args.join(", ");
        Some(match function {
            Function::Lower => format!("lower({list})"),
            Function::Upper => format!("upper({list})"),
            Function::Length => format!("length({list})::bigint"),
            Function::StartsWith => format!("starts_with({list})"),
            Function::Substring => format!("substr({list})"),
            Function::Coalesce => format!("coalesce({list})"),
            Function::Concat => format!("({})", args.join(" || ")),
            Function::Left => format!("left({list})"),
            Function::Right => format!("right({list})"),
            Function::Trim => format!("btrim({list})"),
            Function::If => match args.as_slice() {
                [condition, then, other] => format!("(CASE WHEN {condition} THEN {then} ELSE {other} END)"),
                _ => return None,
            },
            Function::RoundDown => return None,
        })
    }
}

pub(crate) fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if text.contains('\0') => None,
        Value::Int(n) if *n < 0 => Some(format!("({n})")),
        Value::Number(n) if n.starts_with('-') => Some(format!("({n})")),
        other => Some(other.to_string()),
    }
}
