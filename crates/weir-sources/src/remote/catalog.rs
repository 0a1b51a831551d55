//! What there is in a database: tables, their columns, and what becomes of the columns' types.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType as Arrow;
use weir_model::{ColumnName, ConnectionName, DataType, Location};

use crate::error::SourceError;
use crate::infer::InferredColumn;
use crate::types::arrow_type;

/// A table as it was found, with what of it can be read.
#[derive(Clone, Debug)]
pub struct FoundTable {
    pub location: Location,
    pub schema: String,
    pub table: String,
    pub columns: Vec<InferredColumn>,
    /// Columns that cannot be read, and why.
    pub left_out: Vec<(String, String)>,
    /// The columns of the primary key, as far as they can be read; empty when there is none.
    pub key: Vec<ColumnName>,
}

/// A column that can be read.
#[derive(Clone, Debug)]
pub(super) struct RemoteColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// What is known of a type over there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) data_type: DataType,
    /// What stands around the column's name for a value of that type.
    pub(super) said: (&'static str, &'static str),
    /// Of texts: by what they are compared as they are, when texts with equal bytes are equal then.
    pub(super) collation: Option<Arc<str>>,
}

impl Kind {
    /// A type that is the same over there.
    pub(super) fn plain(data_type: DataType) -> Self {
        Self { data_type, said: ("", ""), collation: None }
    }

    pub(super) fn arrow(&self) -> Arrow {
        arrow_type(&self.data_type)
    }
}

/// A column, or its name and why it cannot be read.
pub(super) type Readable = Result<RemoteColumn, (String, String)>;

/// A table as it is over there.
pub(super) struct Found {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<Readable>,
    pub(super) key: Vec<String>,
    /// About how many.
    pub(super) rows: Option<usize>,
}

impl Found {
    /// For registering.
    pub(super) fn told(self, connection: &ConnectionName) -> FoundTable {
        let (mut columns, mut left_out) = (Vec::new(), Vec::new());
        for column in self.columns {
            match column {
                Ok(RemoteColumn { name, kind, nullable }) => match ColumnName::new(name.clone()) {
                    Ok(name) => columns.push(InferredColumn { name, data_type: kind.data_type, nullable }),
                    Err(why) => left_out.push((name, why.to_string())),
                },
                Err(why) => left_out.push(why),
            }
        }
        let known = |name: &String| columns.iter().find(|c| c.name.as_str() == name).map(|c| c.name.clone());
        let key: Option<Vec<ColumnName>> = self.key.iter().map(known).collect();
        let location =
            Location::Table { connection: connection.clone(), schema: self.schema.clone(), table: self.table.clone() };
        let key = key.unwrap_or_default();
        FoundTable { location, schema: self.schema, table: self.table, columns, left_out, key }
    }
}

/// A column of a source, found again.
pub(super) fn find<'a>(found: &'a Found, name: &str, table: &Arc<str>) -> Result<&'a RemoteColumn, SourceError> {
    let wrong = |why: String| SourceError::Table { table: Arc::clone(table), why };
    let named = found.columns.iter().find(|column| match column {
        Ok(column) => column.name == name,
        Err((left_out, _)) => left_out == name,
    });
    match named {
        Some(Ok(column)) => Ok(column),
        Some(Err((_, why))) => Err(wrong(format!("column `{name}` cannot be read any more: {why}"))),
        None => Err(wrong(format!("column `{name}` is not there any more"))),
    }
}
