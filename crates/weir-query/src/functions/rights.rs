//! Functions that ask for rights. They know what the reader sees, and of everything else that it does not exist.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::{Function, as_oid, as_text, function};
use crate::catalogue::{CATALOG, System, is_system_relation};
use crate::fault;

pub(super) static FUNCTIONS: &[Function] = &[
    function("has_any_column_privilege", (2, 3), DataType::Boolean, relation),
    function("has_column_privilege", (3, 4), DataType::Boolean, column),
    function("has_database_privilege", (2, 3), DataType::Boolean, database),
    function("has_foreign_data_wrapper_privilege", (2, 3), DataType::Boolean, |_, _| yes(false)),
    function("has_function_privilege", (2, 3), DataType::Boolean, |_, _| yes(true)),
    function("has_language_privilege", (2, 3), DataType::Boolean, |_, _| yes(false)),
    function("has_schema_privilege", (2, 3), DataType::Boolean, schema),
    function("has_sequence_privilege", (2, 3), DataType::Boolean, |_, _| yes(false)),
    function("has_server_privilege", (2, 3), DataType::Boolean, |_, _| yes(false)),
    function("has_table_privilege", (2, 3), DataType::Boolean, relation),
    function("has_tablespace_privilege", (2, 3), DataType::Boolean, |_, _| yes(false)),
    function("has_type_privilege", (2, 3), DataType::Boolean, |_, _| yes(true)),
    function("pg_has_role", (2, 3), DataType::Boolean, role),
    function("row_security_active", (1, 1), DataType::Boolean, row_security),
];

fn yes(yes: bool) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(yes)))
}

const NULL: ScalarValue = ScalarValue::Boolean(None);

/// Takes away the role that a call may begin with, which has to be the reader.
fn of_reader<'a>(system: &System, args: &'a [ScalarValue], without: usize) -> Result<Option<&'a [ScalarValue]>> {
    let [role, rest @ ..] = args else { return Ok(None) };
    if args.len() == without {
        return Ok(Some(args));
    }
    let Some(name) = as_text(role) else { return Ok(None) };
    let reader = &system.reader.relations().reader;
    if name == reader.name || name == reader.oid.to_string() { Ok(Some(rest)) } else { Err(fault::missing_role(&name)) }
}

/// Whether one of the privileges in a list such as `SELECT, INSERT` is that one.
fn asks_for(privileges: &ScalarValue, held: &[&str]) -> Option<bool> {
    let privileges = as_text(privileges)?;
    let asked = |privilege: &str| held.iter().any(|held| privilege.trim().eq_ignore_ascii_case(held));
    Some(privileges.split(',').any(asked))
}

/// Whether a table is there; `None` for NULL and for an object id of none.
fn exists(system: &System, table: &ScalarValue) -> Result<Option<()>> {
    let Some(written) = as_text(table) else { return Ok(None) };
    let relations = system.reader.relations();
    if let Some(oid) = as_oid(table) {
        return Ok(relations.relation(oid).map(drop));
    }
    if relations.find(&written).is_some() || is_system_relation(&written) {
        return Ok(Some(()));
    }
    Err(fault::missing_table(&written))
}

fn relation(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some([table, privilege]) = of_reader(system, args, 2)? else { return Ok(NULL) };
    let there = exists(system, table)?;
    Ok(ScalarValue::Boolean(there.and_then(|()| asks_for(privilege, &["SELECT"]))))
}

fn column(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some([table, column, privilege]) = of_reader(system, args, 3)? else { return Ok(NULL) };
    if exists(system, table)?.is_none() {
        return Ok(NULL);
    }
    let relations = system.reader.relations();
    let written = as_text(table).unwrap_or_default();
    let relation = as_oid(table).and_then(|oid| relations.relation(oid)).or_else(|| relations.find(&written));
    let Some(name) = as_text(column) else { return Ok(NULL) };
    if let Some(relation) = relation {
        let fields = relation.columns.fields();
        let by_place =
            || as_oid(column).and_then(|at| usize::try_from(at).ok()?.checked_sub(1)).and_then(|at| fields.get(at));
        if fields.find(&name).is_none() && by_place().is_none() {
            return if as_oid(column).is_some() { Ok(NULL) } else { Err(fault::missing_column(&name)) };
        }
    }
    Ok(ScalarValue::Boolean(asks_for(privilege, &["SELECT"])))
}

fn schema(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some([schema, privilege]) = of_reader(system, args, 2)? else { return Ok(NULL) };
    let Some(written) = as_text(schema) else { return Ok(NULL) };
    let relations = system.reader.relations();
    let there = match as_oid(schema) {
        Some(oid) if relations.schema(oid).is_none() => return Ok(NULL),
        Some(_) => true,
        None => relations.schema_oid(&written).is_some(),
    };
    if there { Ok(ScalarValue::Boolean(asks_for(privilege, &["USAGE"]))) } else { Err(fault::missing_schema(&written)) }
}

fn database(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some([database, privilege]) = of_reader(system, args, 2)? else { return Ok(NULL) };
    let Some(written) = as_text(database) else { return Ok(NULL) };
    let own = &system.reader.relations().database;
    match as_oid(database) {
        Some(oid) if oid != own.oid => Ok(NULL),
        None if written != CATALOG => Err(fault::missing_database(&written)),
        Some(_) | None => Ok(ScalarValue::Boolean(asks_for(privilege, &["CONNECT"]))),
    }
}

fn role(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some([role, _]) = of_reader(system, args, 2)? else { return Ok(NULL) };
    let Some(written) = as_text(role) else { return Ok(NULL) };
    let relations = system.reader.relations();
    match as_oid(role).or_else(|| relations.role_oid(&written)) {
        Some(oid) => yes(oid == relations.reader.oid),
        None => Err(fault::missing_role(&written)),
    }
}

/// What policies leave out is not there for the reader.
fn row_security(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let [table] = args else { return Ok(NULL) };
    match exists(system, table)? {
        Some(()) => yes(false),
        None => Ok(NULL),
    }
}
