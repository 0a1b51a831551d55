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

/// What a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    Database(Address),
    Store(StoreAddress),
}

/// Where an object store or a file system is, and as whom it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAddress {
    pub kind: StoreKind,
    /// What lies at or below it may be a data source.
    pub url: String,
    /// The service, where it is not the one that the kind goes by.
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub region: Option<String>,
    pub access: Access,
    /// Certificates in PEM, by which that of the service is checked as well as by those that are publicly known.
    #[serde(default)]
    pub authorities: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    S3,
    Gcs,
    Azure,
    Http,
    Hdfs,
}

impl StoreKind {
    pub fn as_str(self) -> &'static str {
        match self {
            StoreKind::S3 => "s3",
            StoreKind::Gcs => "gcs",
            StoreKind::Azure => "azure",
            StoreKind::Http => "http",
            StoreKind::Hdfs => "hdfs",
        }
    }

    /// By the scheme of a URL.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "s3" => StoreKind::S3,
            "gs" => StoreKind::Gcs,
            "az" | "abfss" => StoreKind::Azure,
            "http" | "https" => StoreKind::Http,
            "hdfs" => StoreKind::Hdfs,
            _ => return None,
        })
    }
}

/// What lets Weir into a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The secret of the connection, which belongs to this access key, account or user; to nobody where it says so itself.
    Secret {
        #[serde(default)]
        user: Option<String>,
    },
    /// Nothing: whoever asks may read.
    Anonymous,
    /// Whatever the machine has that Weir runs on: its environment, its role, its ticket.
    Machine,
}

/// A store with what lets Weir in.
#[derive(Clone, Debug)]
pub struct StoreConnection {
    pub name: ConnectionName,
    pub address: StoreAddress,
    /// Empty where none is needed.
    pub secret: Secret,
}

impl StoreConnection {
    /// Whether the other leads to the same place by the same credentials.
    pub fn is_same(&self, other: &StoreConnection) -> bool {
        self.name == other.name && self.address == other.address && self.secret.expose() == other.secret.expose()
    }
}
