//! The nouns of Weir: ids, names, principals, tags, data types, data sources, settings of a request's surroundings.
//!
//! Plain values only. Nothing here decides, reads, writes or waits.

mod connection;
mod data_type;
mod ids;
mod lineage;
mod names;
mod principal;
mod profile;
mod project;
mod secret;
mod source;
mod tag;
mod value;

pub use connection::{
    Access, Address, Connection, DatabaseKind, StoreAddress, StoreConnection, StoreKind, Target, Tls,
};
pub use data_type::{DataType, Field, Nested, TypeClass};
pub use ids::{ColumnId, Epoch, PolicyId, RequestId, SourceId};
pub use lineage::{Lineage, Origin, ParentColumn};
pub use names::{
    AttributeKey, ColumnName, ConnectionName, GroupName, InvalidName, PolicyKey, ProjectName, PurposeName, SourceName,
};
pub use principal::{Actor, IamId, Impersonation, Permission, Principal, PrincipalId, PrincipalSet};
pub use profile::Profile;
pub use project::{Project, Surroundings};
pub use secret::Secret;
pub use source::{Column, DataSource, FileFormat, Location, Part, PartitionColumn};
pub use tag::Tag;
pub use value::{Value, ValueSet};
