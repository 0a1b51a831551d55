use serde::{Deserialize, Serialize};

use crate::names::ConnectionName;
use crate::secret::Secret;

/// Where a remote database is, and as whom it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub kind: DatabaseKind,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub tls: Tls,
}

impl Address {
    /// The schema whose tables are meant when none is named.
    pub fn default_schema(&self) -> &str {
        match self.kind {
            DatabaseKind::Postgresql => "public",
            // Databases are schemas there.
            DatabaseKind::Mariadb => &self.database,
            DatabaseKind::Sqlite => "main",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseKind {
    Postgresql,
    /// And MySQL, which speaks alike.
    Mariadb,
    /// A file on this machine, whose path is the database's name; there is no host, user or password.
    Sqlite,
}

impl DatabaseKind {
    pub fn as_str(self) -> &'static str {
        match self {
            DatabaseKind::Postgresql => "postgresql",
            DatabaseKind::Mariadb => "mariadb",
            DatabaseKind::Sqlite => "sqlite",
        }
    }
}

/// How the way to the database is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    Off,
    /// Encrypted; the server's certificate must be for the host and be signed by one of these.
    Verified {
        /// Certificates in PEM.
        authorities: String,
    },
}

/// A remote database with what lets Weir in.
#[derive(Clone, Debug)]
pub struct Connection {
    pub name: ConnectionName,
    pub address: Address,
    pub password: Secret,
}

impl Connection {
    /// Whether the other leads to the same place by the same credentials.
    pub fn is_same(&self, other: &Connection) -> bool {
        self.name == other.name && self.address == other.address && self.password.expose() == other.password.expose()
    }
}
