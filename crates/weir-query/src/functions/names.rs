//! Object ids from names, and names from object ids: what casts to `regclass` and its like are made into.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::{Function, as_oid, as_text, function, no_text, text};
use crate::catalogue::relations::{Relation, name_parts, quoted};
use crate::catalogue::{DEFAULT_SCHEMA, PG_CATALOG, System, system_oid, system_table};
use crate::fault;

const OID: DataType = DataType::Int32;
const TEXT: DataType = DataType::Utf8;

pub(super) static FUNCTIONS: &[Function] = &[
    function("regclass", (1, 1), OID, |s, a| oid(s, a, relation, fault::missing_table)),
    function("regclassout", (1, 1), TEXT, |s, a| name(s, a, relation_name)),
    function("regcollation", (1, 1), OID, |_, a| Ok(ScalarValue::Int32(a.first().and_then(as_oid)))),
    function("regcollationout", (1, 1), TEXT, |s, a| name(s, a, |_, _| None)),
    function("regnamespace", (1, 1), OID, |s, a| oid(s, a, schema, fault::missing_schema)),
    function("regnamespaceout", (1, 1), TEXT, |s, a| name(s, a, |s, oid| s.reader.relations().schema(oid).map(quoted))),
    function("regprocedureout", (1, 1), TEXT, |s, a| {
        name(s, a, |s, oid| {
            let (fixed, procedure) = (s.catalogs.fixed(), s.catalogs.fixed().procedure(oid)?);
            let arguments: Vec<String> = procedure.arguments.iter().filter_map(|oid| fixed.type_name(*oid)).collect();
            Some(format!("{}({})", procedure.name, arguments.join(",")))
        })
    }),
    function("regprocedure", (1, 1), OID, |s, a| oid(s, a, procedure, fault::missing_function)),
    function("regproc", (1, 1), OID, |s, a| oid(s, a, procedure, fault::missing_function)),
    function("regprocout", (1, 1), TEXT, |s, a| {
        name(s, a, |s, oid| s.catalogs.fixed().procedure(oid).map(|p| p.name.clone()))
    }),
    function("regrole", (1, 1), OID, |s, a| oid(s, a, role, fault::missing_role)),
    function("regroleout", (1, 1), TEXT, |s, a| name(s, a, |s, oid| s.reader.relations().role(oid).map(quoted))),
    function("regtype", (1, 1), OID, |s, a| oid(s, a, data_type, fault::missing_type)),
    function("regtypeout", (1, 1), TEXT, |s, a| name(s, a, |s, oid| s.catalogs.fixed().type_name(oid))),
    function("regtypesout", (1, 1), TEXT, type_names),
    function("to_regclass", (1, 1), OID, |s, a| Ok(ScalarValue::Int32(found(s, a, relation)))),
    function("to_regnamespace", (1, 1), OID, |s, a| Ok(ScalarValue::Int32(found(s, a, schema)))),
    function("to_regproc", (1, 1), OID, |s, a| Ok(ScalarValue::Int32(found(s, a, procedure)))),
    function("to_regrole", (1, 1), OID, |s, a| Ok(ScalarValue::Int32(found(s, a, role)))),
    function("to_regtype", (1, 1), OID, |s, a| Ok(ScalarValue::Int32(found(s, a, data_type)))),
];

type ByName = fn(&System, &str) -> Option<i32>;

fn found(system: &System, args: &[ScalarValue], by_name: ByName) -> Option<i32> {
    let value = args.first()?;
    as_oid(value).or_else(|| by_name(system, &as_text(value)?))
}

fn oid(
    system: &System,
    args: &[ScalarValue],
    by_name: ByName,
    missing: fn(&str) -> datafusion::common::DataFusionError,
) -> Result<ScalarValue> {
    match (found(system, args, by_name), args.first().and_then(as_text)) {
        (None, Some(name)) if name != "-" => Err(missing(&name)),
        (oid, _) => Ok(ScalarValue::Int32(oid)),
    }
}

/// The name of an object id; the number itself where there is none, as in PostgreSQL. A name stays what it is.
fn name(system: &System, args: &[ScalarValue], by_oid: fn(&System, i32) -> Option<String>) -> Result<ScalarValue> {
    let Some(value) = args.first() else { return Ok(no_text()) };
    Ok(match (as_oid(value), as_text(value)) {
        (Some(0), _) => text("-"),
        (Some(oid), Some(number)) => text(by_oid(system, oid).unwrap_or(number)),
        (None, Some(name)) => text(name),
        (_, None) => no_text(),
    })
}

/// The names of the types whose object ids stand in a text, as an array's text.
fn type_names(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(oids) = args.first().and_then(as_text) else { return Ok(no_text()) };
    let fixed = system.catalogs.fixed();
    let oids = oids.split(|c: char| !c.is_ascii_digit()).filter_map(|oid| oid.parse().ok());
    let names: Vec<String> = oids.map(|oid| fixed.type_name(oid).unwrap_or_else(|| oid.to_string())).collect();
    Ok(text(names.join(",")))
}

fn relation(system: &System, name: &str) -> Option<i32> {
    let of_reader = system.reader.relations().find(name).map(|relation| relation.oid);
    of_reader.or_else(|| match name_parts(name)?.as_slice() {
        [table] => system_oid(table),
        [schema, table] if schema == PG_CATALOG => system_oid(table),
        _ => None,
    })
}

fn relation_name(system: &System, oid: i32) -> Option<String> {
    let shown = |relation: &Relation| match relation.schema.as_str() {
        DEFAULT_SCHEMA => quoted(&relation.name),
        schema => format!("{}.{}", quoted(schema), quoted(&relation.name)),
    };
    system.reader.relations().relation(oid).map(shown).or_else(|| system_table(oid).map(str::to_owned))
}

fn schema(system: &System, name: &str) -> Option<i32> {
    system.reader.relations().schema_oid(&name_parts(name)?.concat())
}

fn role(system: &System, name: &str) -> Option<i32> {
    system.reader.relations().role_oid(&name_parts(name)?.concat())
}

fn procedure(system: &System, name: &str) -> Option<i32> {
    system.catalogs.fixed().procedure_oid(name_parts(name)?.last()?)
}

fn data_type(system: &System, name: &str) -> Option<i32> {
    system.catalogs.fixed().type_oid(name)
}
