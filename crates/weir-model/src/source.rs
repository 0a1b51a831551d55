use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data_type::DataType;
use crate::ids::{ColumnId, SourceId};
use crate::names::{ColumnName, SourceName};
use crate::principal::PrincipalId;
use crate::profile::Profile;
use crate::tag::Tag;

/// A registered table: where its rows are and what is known of its columns. Holds no rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    pub id: SourceId,
    pub name: SourceName,
    #[serde(default)]
    pub tags: BTreeSet<Tag>,
    /// Owners are subscribed without a policy saying so; data policies hold for them like for anyone else.
    #[serde(default)]
    pub owners: BTreeSet<PrincipalId>,
    /// In the order in which queries see them. Columns left out at registration are absent.
    pub columns: Vec<Column>,
    /// Columns whose values together tell rows apart; what is done to a row once and for all is keyed by them. Empty
    /// when there are none.
    #[serde(default)]
    pub row_key: Vec<ColumnId>,
    /// The column that says when what a row tells of happened.
    #[serde(default)]
    pub event_time: Option<ColumnId>,
    pub location: Location,
}

impl DataSource {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name.as_str() == name)
    }

    pub fn column_by_id(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub id: ColumnId,
    pub name: ColumnName,
    #[serde(rename = "type")]
    pub data_type: DataType,
    pub nullable: bool,
    #[serde(default)]
    pub tags: BTreeSet<Tag>,
    /// Absent until somebody has looked at the rows.
    #[serde(default)]
    pub profile: Option<Profile>,
}

/// Where the rows of a source are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Location {
    /// One file, or every file of the format below a folder.
    Files {
        format: FileFormat,
        /// Absolute.
        path: PathBuf,
        /// Hive partition columns (`key=value` folders), outermost first. They are columns of the source too,
        /// unless left out.
        #[serde(default)]
        partitions: Vec<PartitionColumn>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionColumn {
    pub name: ColumnName,
    #[serde(rename = "type")]
    pub data_type: DataType,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    Parquet,
    /// Text with a separator between values.
    Csv {
        header: bool,
        delimiter: char,
    },
    /// One JSON object a line.
    Json,
}

impl FileFormat {
    pub fn as_str(&self) -> &'static str {
        match self {
            FileFormat::Parquet => "parquet",
            FileFormat::Csv { .. } => "csv",
            FileFormat::Json => "json",
        }
    }
}
