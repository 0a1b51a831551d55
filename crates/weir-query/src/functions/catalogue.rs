//! Functions that describe what is in the catalogue, the connection, and the server.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::{Function, as_oid, as_text, function, no_text, text};
use crate::catalogue::System;
use crate::catalogue::relations::quoted;
use crate::fault;

const BOOL: DataType = DataType::Boolean;
const INT: DataType = DataType::Int32;
const BIGINT: DataType = DataType::Int64;
const TEXT: DataType = DataType::Utf8;

pub(super) static FUNCTIONS: &[Function] = &[
    function("col_description", (2, 2), TEXT, nothing),
    function("current_setting", (1, 2), TEXT, current_setting),
    function("format", (1, 16), TEXT, format),
    function("getdatabaseencoding", (0, 0), TEXT, |_, _| Ok(text("UTF8"))),
    function("inet_client_addr", (0, 0), TEXT, nothing),
    function("inet_client_port", (0, 0), INT, |_, _| Ok(ScalarValue::Int32(None))),
    function("inet_server_addr", (0, 0), TEXT, nothing),
    function("inet_server_port", (0, 0), INT, |_, _| Ok(ScalarValue::Int32(None))),
    function("obj_description", (1, 2), TEXT, nothing),
    function("pg_advisory_unlock_all", (0, 0), TEXT, |_, _| Ok(text(""))),
    function("pg_char_to_encoding", (1, 1), INT, char_to_encoding),
    function("pg_collation_is_visible", (1, 1), BOOL, visible),
    function("pg_conversion_is_visible", (1, 1), BOOL, visible),
    function("pg_database_size", (1, 1), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_encoding_max_length", (1, 1), INT, |_, _| Ok(ScalarValue::Int32(Some(4)))),
    function("pg_function_is_visible", (1, 1), BOOL, visible),
    function("pg_get_function_arguments", (1, 1), TEXT, arguments),
    function("pg_get_function_identity_arguments", (1, 1), TEXT, arguments),
    function("pg_get_function_result", (1, 1), TEXT, result),
    function("pg_get_function_sqlbody", (1, 1), TEXT, nothing),
    function("pg_get_functiondef", (1, 1), TEXT, nothing),
    function("pg_get_indexdef", (1, 3), TEXT, nothing),
    function("pg_get_partition_constraintdef", (1, 1), TEXT, nothing),
    function("pg_get_ruledef", (1, 2), TEXT, nothing),
    function("pg_get_serial_sequence", (2, 2), TEXT, nothing),
    function("pg_get_statisticsobjdef", (1, 1), TEXT, nothing),
    function("pg_get_triggerdef", (1, 2), TEXT, nothing),
    function("pg_get_userbyid", (1, 1), TEXT, user_by_id),
    function("pg_get_viewdef", (1, 2), TEXT, view_definition),
    function("pg_indexes_size", (1, 1), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_is_in_recovery", (0, 0), BOOL, |_, _| Ok(ScalarValue::Boolean(Some(false)))),
    function("pg_is_other_temp_schema", (1, 1), BOOL, |_, _| Ok(ScalarValue::Boolean(Some(false)))),
    function("pg_my_temp_schema", (0, 0), INT, |_, _| Ok(ScalarValue::Int32(Some(0)))),
    function("pg_opclass_is_visible", (1, 1), BOOL, visible),
    function("pg_operator_is_visible", (1, 1), BOOL, visible),
    function("pg_opfamily_is_visible", (1, 1), BOOL, visible),
    function("pg_relation_is_publishable", (1, 1), BOOL, |_, _| Ok(ScalarValue::Boolean(Some(false)))),
    function("pg_relation_size", (1, 2), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_size_pretty", (1, 1), TEXT, size_pretty),
    function("pg_statistics_obj_is_visible", (1, 1), BOOL, visible),
    function("pg_table_is_visible", (1, 1), BOOL, table_is_visible),
    function("pg_table_size", (1, 1), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_tablespace_location", (1, 1), TEXT, nothing),
    function("pg_tablespace_size", (1, 1), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_total_relation_size", (1, 1), BIGINT, |_, _| Ok(ScalarValue::Int64(None))),
    function("pg_ts_config_is_visible", (1, 1), BOOL, visible),
    function("pg_ts_dict_is_visible", (1, 1), BOOL, visible),
    function("pg_ts_parser_is_visible", (1, 1), BOOL, visible),
    function("pg_ts_template_is_visible", (1, 1), BOOL, visible),
    function("pg_type_is_visible", (1, 1), BOOL, visible),
    function("quote_literal", (1, 1), TEXT, |_, a| Ok(a.first().and_then(as_text).map_or(no_text(), literal))),
    function("quote_nullable", (1, 1), TEXT, |_, a| Ok(a.first().and_then(as_text).map_or(text("NULL"), literal))),
    // The connection has set it by now.
    function("set_config", (3, 3), TEXT, |_, a| Ok(a.get(1).and_then(as_text).map_or(no_text(), text))),
    function("shobj_description", (2, 2), TEXT, nothing),
];

/// Weir keeps no remarks, definitions of other things than tables, places and addresses that it could tell.
fn nothing(_: &System, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(no_text())
}

/// All that is listed of this kind is what PostgreSQL brings.
fn visible(_: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(args.first().and_then(as_oid).map(|_| true)))
}

/// As if every schema were on the search path, so that short listings show all that there is to see.
fn table_is_visible(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let relations = system.reader.relations();
    let known = args.first().and_then(as_oid).and_then(|oid| relations.relation(oid));
    Ok(ScalarValue::Boolean(known.map(|_| true)))
}

fn view_definition(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let relations = system.reader.relations();
    let known = args.first().and_then(as_oid).and_then(|oid| relations.relation(oid));
    Ok(known.and_then(|relation| relation.view.as_ref()).map_or(no_text(), text))
}

fn user_by_id(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(oid) = args.first().and_then(as_oid) else { return Ok(no_text()) };
    Ok(match system.reader.relations().role(oid) {
        Some(name) => text(name),
        None => text(format!("unknown (OID={oid})")),
    })
}

fn current_setting(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(name) = args.first().and_then(as_text) else { return Ok(no_text()) };
    let known = system.asked.settings.iter().find(|[known, ..]| known.eq_ignore_ascii_case(&name));
    match known {
        Some([_, value, _]) => Ok(text(value)),
        None if args.get(1).is_some_and(|missing_ok| *missing_ok == ScalarValue::Boolean(Some(true))) => Ok(no_text()),
        None => Err(fault::missing_setting(&name)),
    }
}

fn char_to_encoding(_: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let name = args.first().and_then(as_text).map(|name| name.to_lowercase().replace(['-', '_'], ""));
    Ok(ScalarValue::Int32(name.map(|name| if name == "utf8" { 6 } else { -1 })))
}

fn arguments(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let fixed = system.catalogs.fixed();
    let procedure = args.first().and_then(as_oid).and_then(|oid| fixed.procedure(oid));
    let name = |oid: &i32| fixed.type_name(*oid).unwrap_or_else(|| oid.to_string());
    let listed = procedure.map(|p| p.arguments.iter().map(name).collect::<Vec<_>>().join(", "));
    Ok(ScalarValue::Utf8(listed))
}

fn result(system: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let fixed = system.catalogs.fixed();
    let procedure = args.first().and_then(as_oid).and_then(|oid| fixed.procedure(oid));
    Ok(ScalarValue::Utf8(procedure.and_then(|p| fixed.type_name(p.result))))
}

fn size_pretty(_: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(bytes) = args.first().and_then(as_text).and_then(|text| text.parse::<f64>().ok()) else {
        return Ok(no_text());
    };
    let (mut size, mut unit) = (bytes, "bytes");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size.abs() < 10_240.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    Ok(text(format!("{size:.0} {unit}")))
}

fn literal(value: String) -> ScalarValue {
    text(quoted_literal(&value))
}

fn quoted_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `%s`, `%I`, `%L` and `%%`, in order.
fn format(_: &System, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(form) = args.first().and_then(as_text) else { return Ok(no_text()) };
    let (mut out, mut chars, mut rest) = (String::new(), form.chars(), args.iter().skip(1));
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = chars.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let value = match rest.next() {
            Some(value) => as_text(value),
            None => return datafusion::common::exec_err!("too few arguments for format()"),
        };
        match (kind, value) {
            (Some('s'), value) => out.push_str(&value.unwrap_or_default()),
            (Some('I'), Some(name)) => out.push_str(&quoted(&name)),
            (Some('I'), None) => {
                return datafusion::common::exec_err!("null values cannot be formatted as an SQL identifier");
            }
            (Some('L'), value) => {
                out.push_str(&value.map_or_else(|| "NULL".to_owned(), |value| quoted_literal(&value)))
            }
            (Some(_) | None, _) => return datafusion::common::exec_err!("unrecognized format() type specifier"),
        }
    }
    Ok(text(out))
}
