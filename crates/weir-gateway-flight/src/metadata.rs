//! What there is: catalogues, schemas and tables as the caller sees them, and what the server can do.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::{FlightError, Result};
use arrow_flight::sql::metadata::XdbcTypeInfoDataBuilder;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData};
use arrow_flight::sql::{Command, Nullable, Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType};
use weir_query::{CATALOG, VisibleTable};

use crate::stream::plain_schema;

/// The types of tables there are.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// One question about what there is.
pub(crate) enum Question {
    /// Answered from what the caller sees.
    Tables(Command),
    /// The same for everybody.
    Fixed(RecordBatch),
}

impl Question {
    /// `None` for commands that ask for something else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here is no question of this kind")]
    pub(crate) fn of(command: Command) -> Result<Option<Self>> {
        let fixed = match command {
            Command::CommandGetDbSchemas(_) | Command::CommandGetTables(_) => return Ok(Some(Self::Tables(command))),
            Command::CommandGetCatalogs(asked) => {
                let mut catalogs = asked.into_builder();
                catalogs.append(CATALOG);
                catalogs.build()?
            }
            Command::CommandGetTableTypes(asked) => {
                let mut types = asked.into_builder();
                types.append(TABLE);
                types.append(VIEW);
                types.build()?
            }
            Command::CommandGetSqlInfo(asked) => asked.into_builder(&sql_info()?).build()?,
            Command::CommandGetXdbcTypeInfo(asked) => asked.into_builder(&type_info()?).build()?,
            Command::CommandGetPrimaryKeys(_) => RecordBatch::new_empty(primary_keys()),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => RecordBatch::new_empty(foreign_keys()),
            _ => return Ok(None),
        };
        Ok(Some(Self::Fixed(fixed)))
    }

    /// Of the answer, which does not depend on who asks.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        match self {
            Self::Fixed(answer) => Ok(answer.schema()),
            Self::Tables(command) => Ok(answer(command.clone(), &[])?.schema()),
        }
    }

    /// From what the caller sees.
    pub(crate) fn answer(self, visible: &[VisibleTable]) -> Result<RecordBatch> {
        match self {
            Self::Fixed(answer) => Ok(answer),
            Self::Tables(command) => answer(command, visible),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a question about tables is one of these two")]
fn answer(command: Command, visible: &[VisibleTable]) -> Result<RecordBatch> {
    match command {
        Command::CommandGetDbSchemas(asked) => {
            let mut schemas = asked.into_builder();
            let names: BTreeSet<&str> = visible.iter().map(|table| table.schema.as_str()).collect();
            names.into_iter().for_each(|name| schemas.append(CATALOG, name));
            schemas.build()
        }
        Command::CommandGetTables(asked) => {
            let mut tables = asked.into_builder();
            for VisibleTable { schema, table, columns, is_view } in visible {
                let kind = if *is_view { VIEW } else { TABLE };
                tables.append(CATALOG, schema, table, kind, &plain_schema(columns))?;
            }
            tables.build()
        }
        other => Err(FlightError::protocol(other.type_url())),
    }
}

fn sql_info() -> Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Weir");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.build()
}

fn type_info() -> Result<XdbcTypeInfoData> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let known = [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
        ("SMALLINT", XdbcDataType::XdbcSmallint, 16, Some(2)),
        ("INTEGER", XdbcDataType::XdbcInteger, 32, Some(2)),
        ("BIGINT", XdbcDataType::XdbcBigint, 64, Some(2)),
        ("REAL", XdbcDataType::XdbcReal, 24, Some(2)),
        ("DOUBLE PRECISION", XdbcDataType::XdbcDouble, 53, Some(2)),
        ("DECIMAL", XdbcDataType::XdbcDecimal, 38, Some(10)),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, None),
        ("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX, None),
        ("DATE", XdbcDataType::XdbcDate, 10, None),
        ("TIME", XdbcDataType::XdbcTime, 15, None),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, None),
    ];
    for (name, data_type, size, radix) in known {
        let text = matches!(data_type, XdbcDataType::XdbcVarchar);
        let quoted = radix.is_none() && !matches!(data_type, XdbcDataType::XdbcBit);
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            column_size: Some(size),
            literal_prefix: quoted.then(|| "'".to_owned()),
            literal_suffix: quoted.then(|| "'".to_owned()),
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: text,
            searchable: Searchable::Full,
            unsigned_attribute: radix.map(|_| false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: radix,
            interval_precision: None,
        });
    }
    types.build()
}

fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, data_type, nullable): &(&str, DataType, bool)| Field::new(*name, data_type.clone(), *nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Of `CommandGetPrimaryKeys` (`FlightSql.proto`).
fn primary_keys() -> SchemaRef {
    schema(&[
        ("catalog_name", DataType::Utf8, true),
        ("db_schema_name", DataType::Utf8, true),
        ("table_name", DataType::Utf8, false),
        ("column_name", DataType::Utf8, false),
        ("key_name", DataType::Utf8, true),
        ("key_sequence", DataType::Int32, false),
    ])
}

/// Of `CommandGetImportedKeys` and its like (`FlightSql.proto`).
fn foreign_keys() -> SchemaRef {
    schema(&[
        ("pk_catalog_name", DataType::Utf8, true),
        ("pk_db_schema_name", DataType::Utf8, true),
        ("pk_table_name", DataType::Utf8, false),
        ("pk_column_name", DataType::Utf8, false),
        ("fk_catalog_name", DataType::Utf8, true),
        ("fk_db_schema_name", DataType::Utf8, true),
        ("fk_table_name", DataType::Utf8, false),
        ("fk_column_name", DataType::Utf8, false),
        ("key_sequence", DataType::Int32, false),
        ("fk_key_name", DataType::Utf8, true),
        ("pk_key_name", DataType::Utf8, true),
        ("update_rule", DataType::UInt8, false),
        ("delete_rule", DataType::UInt8, false),
    ])
}
