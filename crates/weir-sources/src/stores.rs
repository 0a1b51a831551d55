//! Where files are: on the local disk, or in a store that a connection leads to.

mod client;
mod list;
mod trouble;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::{Builder, Runtime};
use url::{Position, Url};
use weir_model::{Access, ConnectionName, Secret, StoreAddress, StoreConnection, StoreKind};

use crate::error::SourceError;
pub(crate) use trouble::{told, trouble};

/// The stores that are in use, with threads of their own, on which their connections live longer than statements.
#[derive(Default)]
pub(crate) struct Stores {
    threads: OnceLock<Arc<Threads>>,
    open: Mutex<HashMap<ConnectionName, Arc<Store>>>,
}

/// A store, by one set of credentials.
pub(crate) struct Store {
    connection: StoreConnection,
    client: Arc<dyn ObjectStore>,
    _threads: Arc<Threads>,
    /// Of all the stores that were opened.
    number: u64,
}

impl Stores {
    /// By these credentials; what was opened by former ones is let go.
    pub(crate) fn open(&self, connection: StoreConnection) -> Result<Arc<Store>, SourceError> {
        let failed = |why: String| SourceError::Connection { connection: connection.name.clone(), why };
        let threads = self.threads().map_err(|e| failed(e.to_string()))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&connection.name)
            && store.connection.is_same(&connection)
        {
            return Ok(Arc::clone(store));
        }
        let handle =
            threads.0.as_ref().map(Runtime::handle).ok_or_else(|| failed("there are no threads".to_owned()))?;
        let client = client::of(&connection, handle).map_err(failed)?;
        let number = open.get(&connection.name).map_or(0, |former| former.number + 1);
        let store = Arc::new(Store { connection, client, _threads: threads, number });
        open.insert(store.connection.name.clone(), Arc::clone(&store));
        Ok(store)
    }

    fn threads(&self) -> std::io::Result<Arc<Threads>> {
        if let Some(threads) = self.threads.get() {
            return Ok(Arc::clone(threads));
        }
        let made = Builder::new_multi_thread().worker_threads(2).thread_name("stores").enable_all().build()?;
        Ok(Arc::clone(self.threads.get_or_init(|| Arc::new(Threads(Some(made))))))
    }
}

/// Live as long as anything that is read by them.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            // Waiting would be refused where this is dropped: in a task.
            threads.shutdown_background();
        }
    }
}

/// A file or a folder.
#[derive(Clone)]
pub(crate) struct Place {
    store: Option<Arc<Store>>,
    client: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    pub(crate) folder: bool,
    /// Its path or URL, for whoever governs.
    pub(crate) shown: PathBuf,
}

impl Place {
    /// `path` is absolute.
    pub(crate) fn local(path: PathBuf) -> Result<Self, SourceError> {
        let within = Path::from_absolute_path(&path).map_err(|e| SourceError::Malformed {
            path: path.clone(),
            format: "local",
            why: e.to_string(),
        })?;
        let folder = path.is_dir();
        Ok(Self { store: None, client: Arc::new(LocalFileSystem::new()), path: within, folder, shown: path })
    }

    #[cfg(test)]
    pub(crate) fn test(client: Arc<dyn ObjectStore>, path: Path) -> Self {
        let address = StoreAddress {
            kind: StoreKind::S3,
            url: "s3://test".to_owned(),
            endpoint: None,
            region: None,
            access: Access::Anonymous,
            authorities: None,
        };
        let (name, threads) = (ConnectionName::new("test").unwrap(), Arc::new(Threads(None)));
        let connection = StoreConnection { name, address, secret: Secret::new("") };
        let store = Store { connection, client: Arc::clone(&client), _threads: threads, number: 0 };
        Self { store: Some(Arc::new(store)), client, path, folder: true, shown: PathBuf::from("s3://test") }
    }

    /// What `url` names, which has to be at or below what the connection leads to.
    pub(crate) fn of(store: Arc<Store>, url: &str) -> Result<Self, SourceError> {
        let StoreAddress { url: root, .. } = &store.connection.address;
        let outside = || SourceError::Outside {
            url: url.to_owned(),
            connection: store.connection.name.clone(),
            root: root.clone(),
        };
        let (above, asked) = (Url::parse(root).map_err(|_| outside())?, Url::parse(url).map_err(|_| outside())?);
        let authority = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned());
        let path = Path::from_url_path(asked.path()).map_err(|_| outside())?;
        let root = Path::from_url_path(above.path()).map_err(|_| outside())?;
        let plain = asked.query().is_none() && asked.fragment().is_none();
        if authority(&above) != authority(&asked) || !path.prefix_matches(&root) || !plain {
            return Err(outside());
        }
        let (client, folder) = (Arc::clone(&store.client), url.ends_with('/'));
        Ok(Self { store: Some(store), client, path, folder, shown: PathBuf::from(url) })
    }

    /// A folder inside of it.
    pub(crate) fn within(&self, folder: &str) -> Self {
        let (path, shown) = (self.path.clone().join(folder), self.shown.join(folder));
        Self { path, shown, folder: true, ..self.clone() }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.client
    }

    pub(crate) fn is_local(&self) -> bool {
        self.store.is_none()
    }

    /// Changes when other credentials lead there.
    pub(crate) fn number(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.number)
    }

    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.store.as_ref().map(|store| &store.connection.secret)
    }

    /// Of something in the same store, for whoever governs.
    pub(crate) fn shown_at(&self, path: &Path) -> String {
        match &self.store {
            None => format!("`/{path}`"),
            Some(store) => format!("`{}` of connection `{}`", self.shown_as(path).display(), store.connection.name),
        }
    }

    /// As [`Self::shown`], of something in the same store.
    pub(crate) fn shown_as(&self, path: &Path) -> PathBuf {
        match &self.store {
            None => PathBuf::from(format!("/{path}")),
            Some(store) => {
                let url = Url::parse(&store.connection.address.url);
                let at = url.map(|url| url[..Position::BeforePath].to_owned()).unwrap_or_default();
                PathBuf::from(format!("{at}/{path}"))
            }
        }
    }

    fn kind(&self) -> Option<StoreKind> {
        self.store.as_ref().map(|store| store.connection.address.kind)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("path", &self.shown).finish_non_exhaustive()
    }
}

/// Whether the store lets itself be read at all.
pub async fn try_store(connection: StoreConnection) -> Result<String, SourceError> {
    let (stores, root) = (Stores::default(), connection.address.url.clone());
    let kind = connection.address.kind;
    let place = Place::of(stores.open(connection)?, &root)?;
    let tried = match kind {
        // Has no listing.
        StoreKind::Http => match place.client.head(&place.path).await {
            // A folder need not be there, or be read, for what is in it.
            Ok(_) | Err(object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. }) => Ok(()),
            Err(e) => Err(e),
        },
        StoreKind::S3 | StoreKind::Gcs | StoreKind::Azure | StoreKind::Hdfs => {
            place.client.list_with_delimiter(Some(&place.path)).await.map(drop)
        }
    };
    tried.map_err(|e| place.failed(&place.path, e)).map(|()| format!("`{root}` can be read"))
}

/// What a connection needs that a command line may leave out.
pub fn check_store(connection: &StoreConnection) -> Result<(), SourceError> {
    Stores::default().open(connection.clone()).map(drop)
}

fn user(access: &Access) -> Option<&str> {
    match access {
        Access::Secret { user } => user.as_deref(),
        Access::Anonymous | Access::Machine => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_leads_to_what_is_below_its_url() {
        let of = |root: &str, url: &str| {
            let mut place = Place::test(Arc::new(LocalFileSystem::new()), Path::ROOT);
            let store = Arc::get_mut(place.store.as_mut().unwrap()).unwrap();
            store.connection.address.url = root.to_owned();
            Place::of(place.store.unwrap(), url).map(|place| place.path.to_string()).ok()
        };
        assert_eq!(of("s3://b/x", "s3://b/x/y%20z/"), Some("x/y z".to_owned()));
        assert_eq!(of("s3://b", "s3://b/x"), Some("x".to_owned()));
        assert_eq!(of("abfss://c@a.dfs.core.windows.net", "abfss://c@a.dfs.core.windows.net/x"), Some("x".to_owned()));
        for outside in [
            "s3://b/xy",
            "s3://b/",
            "s3://c/x",
            "s3://b:1/x",
            "http://b/x",
            "s3://b/x/../y",
            "s3://b/x/%2e%2e/y",
            "s3://u@b/x",
            "s3://b/x?versionId=1",
            "s3://b/x#y",
            "/x",
            "x",
            "file:///x",
        ] {
            assert_eq!(of("s3://b/x", outside), None, "{outside}");
        }
        assert_eq!(of("abfss://c@a.dfs.core.windows.net", "abfss://d@a.dfs.core.windows.net/x"), None);
    }

    #[test]
    fn secrets_go_to_web_servers_encrypted() {
        let of = |url: &str, access: Access| {
            let (kind, url, endpoint, region, authorities) = (StoreKind::Http, url.to_owned(), None, None, None);
            let address = StoreAddress { kind, url, endpoint, region, access, authorities };
            let name = ConnectionName::new("web").unwrap();
            check_store(&StoreConnection { name, address, secret: Secret::new("token") }).map_err(|e| e.to_string())
        };
        let refused = of("http://files.example/", Access::Secret { user: None }).unwrap_err();
        assert!(refused.contains("over https"), "{refused}");
        assert!(of("http://localhost.example/", Access::Secret { user: Some("u".to_owned()) }).is_err());
        assert_eq!(of("http://127.0.0.1:8000/", Access::Secret { user: None }), Ok(()));
        assert_eq!(of("http://files.example/", Access::Anonymous), Ok(()));
        assert_eq!(of("https://files.example/", Access::Secret { user: None }), Ok(()));
    }
}
