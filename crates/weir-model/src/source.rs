use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data_type::{DataType, Nested};
use crate::ids::{ColumnId, SourceId};
use crate::lineage::Lineage;
use crate::names::{ColumnName, ConnectionName, InvalidName, ProjectName, SourceName};
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
    /// Values inside of nested columns, outer ones first.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Columns whose values together tell rows apart; what is done to a row once and for all is keyed by them. Empty
    /// when there are none.
    #[serde(default)]
    pub row_key: Vec<ColumnId>,
    /// The column that says when what a row tells of happened.
    #[serde(default)]
    pub event_time: Option<ColumnId>,
    /// Absent when it was not made from other sources.
    #[serde(default)]
    pub lineage: Option<Lineage>,
    /// The project in whose workspace it was written; it exists nowhere else. Absent for what was registered.
    #[serde(default)]
    pub workspace: Option<ProjectName>,
    pub location: Location,
}

impl DataSource {
    /// The query of a view.
    pub fn view(&self) -> Option<&str> {
        match &self.location {
            Location::View { query } => Some(query),
            Location::Files { .. } | Location::Objects { .. } | Location::Table { .. } => None,
        }
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name.as_str() == name)
    }

    pub fn column_by_id(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }

    /// What policies name and tag: columns, and parts of nested columns.
    pub fn places(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().chain(self.parts.iter().map(|part| &part.column))
    }

    /// The column or part of that name.
    pub fn place(&self, name: &str) -> Option<&Column> {
        self.places().find(|place| place.name.as_str() == name)
    }

    pub fn place_by_id(&self, id: ColumnId) -> Option<&Column> {
        self.places().find(|place| place.id == id)
    }

    pub fn part(&self, id: ColumnId) -> Option<&Part> {
        self.parts.iter().find(|part| part.column.id == id)
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

/// A value inside of a nested column that policies name like a column: a field of a struct, also of those in a list or
/// in the values of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name is that of the column and the fields on the way, with dots between: `address.city`.
    pub column: Column,
    /// The column that it is in.
    pub within: ColumnId,
    /// The names of the fields from the column inwards.
    pub path: Vec<String>,
    /// One row may have several.
    pub repeated: bool,
}

impl Part {
    /// The parts of a column, outer ones first, without tags. `id` gives each its own.
    pub fn of(column: &Column, mut id: impl FnMut() -> ColumnId) -> Result<Vec<Self>, InvalidName> {
        let part = |nested: Nested<'_>| {
            let path: Vec<String> = nested.path.iter().map(|&name| name.to_owned()).collect();
            let name = ColumnName::new(format!("{}.{}", column.name, path.join(".")))?;
            let data_type = nested.data_type.clone();
            let place = Column { id: id(), name, data_type, nullable: true, tags: BTreeSet::new(), profile: None };
            Ok(Self { column: place, within: column.id, path, repeated: nested.repeated })
        };
        column.data_type.nested().into_iter().map(part).collect()
    }
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
    /// One object, or every object of the format below a folder, of a store.
    Objects {
        connection: ConnectionName,
        format: FileFormat,
        /// At or below the URL of the connection. One of a folder ends with a slash.
        url: String,
        /// As of files.
        #[serde(default)]
        partitions: Vec<PartitionColumn>,
    },
    /// A table or view of a remote database, by the names that it has there.
    Table { connection: ConnectionName, schema: String, table: String },
    /// None of its own: what the query gives, read with the rights of whoever reads. The lineage has the sources that
    /// the query names, and what its columns are if they are seen unmasked.
    View { query: String },
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
    /// A table of Parquet files with a log that says which of them are it.
    Delta,
}

impl FileFormat {
    pub fn as_str(&self) -> &'static str {
        match self {
            FileFormat::Parquet => "parquet",
            FileFormat::Csv { .. } => "csv",
            FileFormat::Json => "json",
            FileFormat::Delta => "delta",
        }
    }
}
