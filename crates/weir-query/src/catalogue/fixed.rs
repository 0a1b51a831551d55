//! Types and functions that PostgreSQL brings, by object id and by name.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result;

/// What is known of types and functions.
#[derive(Debug)]
pub(crate) struct Fixed {
    types: HashMap<i32, String>,
    by_name: HashMap<String, i32>,
    procedures: HashMap<i32, Procedure>,
    /// The first of each name.
    procedures_by_name: HashMap<String, i32>,
}

#[derive(Debug)]
pub(crate) struct Procedure {
    pub(crate) name: String,
    pub(crate) arguments: Vec<i32>,
    pub(crate) result: i32,
}

/// Names of types in catalogues, and those that the standard gives them.
const STANDARD: [(&str, &str); 17] = [
    ("bit", "bit"),
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int4", "int"),
    ("int8", "bigint"),
    ("numeric", "numeric"),
    ("numeric", "decimal"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varbit", "bit varying"),
    ("varchar", "character varying"),
];

impl Fixed {
    pub(super) fn new(pg_type: &[RecordBatch], pg_proc: &[RecordBatch]) -> Result<Self> {
        let mut fixed = Self {
            types: HashMap::new(),
            by_name: HashMap::new(),
            procedures: HashMap::new(),
            procedures_by_name: HashMap::new(),
        };
        for batch in pg_type {
            for (oid, name) in integers(batch, "oid")?.into_iter().zip(texts(batch, "typname")?) {
                fixed.by_name.insert(name.clone(), oid);
                fixed.types.insert(oid, name);
            }
        }
        for batch in pg_proc {
            let (oids, names) = (integers(batch, "oid")?, texts(batch, "proname")?);
            let (arguments, results) = (texts(batch, "proargtypes")?, integers(batch, "prorettype")?);
            for (((oid, name), arguments), result) in oids.into_iter().zip(names).zip(arguments).zip(results) {
                let arguments = arguments.split_whitespace().filter_map(|oid| oid.parse().ok()).collect();
                let first = fixed.procedures_by_name.entry(name.clone()).or_insert(oid);
                *first = oid.min(*first);
                fixed.procedures.insert(oid, Procedure { name, arguments, result });
            }
        }
        Ok(fixed)
    }

    pub(crate) fn procedure(&self, oid: i32) -> Option<&Procedure> {
        self.procedures.get(&oid)
    }

    /// The first function of this name.
    pub(crate) fn procedure_oid(&self, name: &str) -> Option<i32> {
        self.procedures_by_name.get(name).copied()
    }

    /// As the standard calls it.
    pub(crate) fn type_name(&self, oid: i32) -> Option<String> {
        let name = self.types.get(&oid)?;
        let standard = |name: &str| {
            let known = STANDARD.iter().find(|(known, _)| *known == name);
            known.map_or(name, |(_, standard)| standard).to_owned()
        };
        Some(match name.strip_prefix('_') {
            Some(item) if self.by_name.contains_key(item) => format!("{}[]", standard(item)),
            Some(_) | None => standard(name),
        })
    }

    /// By a name as it is written in SQL.
    pub(crate) fn type_oid(&self, name: &str) -> Option<i32> {
        let name = name.trim().to_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name).replace('"', "");
        let (name, is_array) = name.strip_suffix("[]").map_or((name.as_str(), false), |item| (item, true));
        let known = STANDARD.iter().find(|(_, standard)| *standard == name).map_or(name, |(known, _)| known);
        if is_array { self.by_name.get(&format!("_{known}")).copied() } else { self.by_name.get(known).copied() }
    }
}

fn integers(batch: &RecordBatch, column: &str) -> Result<Vec<i32>> {
    let array = cast(of(batch, column)?, &DataType::Int32)?;
    let array = array.as_primitive::<Int32Type>();
    Ok(array.iter().map(|value| value.unwrap_or(0)).collect())
}

fn texts(batch: &RecordBatch, column: &str) -> Result<Vec<String>> {
    let array = cast(of(batch, column)?, &DataType::Utf8)?;
    let array = array.as_string::<i32>();
    Ok(array.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
}

fn of<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a dyn Array> {
    match batch.column_by_name(column) {
        Some(array) => Ok(array.as_ref()),
        None => datafusion::common::internal_err!("the static catalogue has no column `{column}`"),
    }
}
