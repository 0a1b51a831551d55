//! Keys of masks, and the master key that they lie encrypted under.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, SqlSafeStr, query, query_scalar};
use weir_guard::{Connections, Credentials, KeyRing};
use weir_model::{
    Access, Address, Connection, ConnectionName, DatabaseKind, Epoch, FileFormat, Location, ProjectName, Secret,
    SourceId, StoreAddress, StoreConnection, StoreKind, Target, Tls,
};
use weir_policy::KeyScope;
use weir_store::{Change, KeyOwner, KeyRecord, Store};

use crate::{Ticks, open, person, raw, refused, source, source_id, table, told, user};

async fn key(store: &Store, scope: &KeyScope) -> (u32, Vec<u8>) {
    let key = store.mask_key(scope).await.unwrap();
    assert_eq!(key.secret.expose().len(), 32);
    (key.id, key.secret.expose().to_vec())
}

async fn old(store: &Store, scope: &KeyScope, id: u32) -> Option<Vec<u8>> {
    store.mask_key_by_id(scope, id).await.unwrap().map(|key| key.expose().to_vec())
}

fn project() -> ProjectName {
    ProjectName::new("study").unwrap()
}

#[tokio::test]
async fn every_source_has_its_own_lasting_key() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.a", &[]), source("retail.b", &[])]).await.unwrap();
    let ids = [source_id(&store, "retail.a").await, source_id(&store, "retail.b").await];
    let [a, b] = ids.map(KeyScope::Source);
    let first = key(&store, &a).await;
    assert_eq!(first.0, 1);
    assert_ne!(first.1, key(&store, &b).await.1);
    store.close().await.unwrap();
    let store = open(root.path()).await;
    assert_eq!(key(&store, &a).await, first);

    store.apply("local", vec![Change::RemoveSource(table("retail.a"))]).await.unwrap();
    assert!(store.mask_key(&a).await.is_err());
    assert_eq!(old(&store, &a, 1).await, None);
    // Registered again it is another source.
    store.apply("local", vec![source("retail.a", &[])]).await.unwrap();
    let again = source_id(&store, "retail.a").await;
    assert!(!ids.contains(&again));
    assert_ne!(key(&store, &KeyScope::Source(again)).await.1, first.1);
}

#[tokio::test]
async fn a_project_has_a_key_from_its_first_masked_join_on() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let create = || Change::CreateProject { project: project(), owners: Default::default() };
    let masked_joins = |on| vec![Change::SetMaskedJoins { project: project(), on }];
    store.apply("local", vec![create(), source("retail.a", &[])]).await.unwrap();
    let scope = KeyScope::Project(project());
    let e = store.mask_key(&scope).await.unwrap_err();
    assert_eq!(e.to_string(), "key ring is unavailable: key of project `study` does not exist");
    store.apply("local", masked_joins(true)).await.unwrap();
    let first = key(&store, &scope).await;
    assert_ne!(first.1, key(&store, &KeyScope::Source(source_id(&store, "retail.a").await)).await.1);
    // Off and on again, values are what they were.
    store.apply("local", masked_joins(false)).await.unwrap();
    store.apply("local", masked_joins(true)).await.unwrap();
    assert_eq!(key(&store, &scope).await, first);
    // A project of the same name is another one.
    store.apply("local", vec![Change::RemoveProject(project())]).await.unwrap();
    assert!(store.mask_key(&scope).await.is_err());
    assert_eq!(old(&store, &scope, 1).await, None);
    store.apply("local", vec![create()]).await.unwrap();
    store.apply("local", masked_joins(true)).await.unwrap();
    assert_ne!(key(&store, &scope).await.1, first.1);
}

#[tokio::test]
async fn older_keys_stay_to_unmask_with() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let create = Change::CreateProject { project: project(), owners: Default::default() };
    let join = Change::SetMaskedJoins { project: project(), on: true };
    store.apply("local", vec![source("retail.a", &[]), create, join]).await.unwrap();
    let of_source = KeyOwner::Source(table("retail.a"));
    let of_project = KeyOwner::Project(project());
    for (of, scope) in [
        (&of_source, KeyScope::Source(source_id(&store, "retail.a").await)),
        (&of_project, KeyScope::Project(project())),
    ] {
        let first = key(&store, &scope).await;
        store.apply("local", vec![Change::RotateKey(of.clone())]).await.unwrap();
        let second = key(&store, &scope).await;
        assert_eq!((first.0, second.0), (1, 2));
        assert_ne!(first.1, second.1);
        assert_eq!(old(&store, &scope, 1).await, Some(first.1));
        assert_eq!(old(&store, &scope, 2).await, Some(second.1));
        assert_eq!(old(&store, &scope, 3).await, None);
    }
    let keys = store.keys().await.unwrap();
    let named: Vec<(&KeyOwner, u32)> = keys.iter().map(|key| (&key.of, key.id)).collect();
    assert_eq!(named, [(&of_source, 1), (&of_source, 2), (&of_project, 1), (&of_project, 2)]);
    assert!(keys.iter().all(|key| key.made_at_unix_ms.is_some()));
    assert_eq!(store.changes(1).await.unwrap()[0].what, "make a new key for project `study`");
    let gone = |of| vec![Change::RotateKey(of)];
    assert_eq!(
        refused(&store, gone(KeyOwner::Source(table("retail.x")))).await,
        "data source `retail.x` does not exist"
    );
    let other = ProjectName::new("other").unwrap();
    assert_eq!(refused(&store, gone(KeyOwner::Project(other))).await, "project `other` does not exist");
}

/// Somebody who may write the database but does not have the master key cannot use one key for another.
#[tokio::test]
async fn a_key_in_the_place_of_another_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.a", &[]), source("retail.b", &[]), user("tara", &[])]).await.unwrap();
    let password = Change::SetPassword { user: person("tara"), password: Secret::new("sesame") };
    store.apply("local", vec![password, user("nora", &[])]).await.unwrap();
    let b = KeyScope::Source(source_id(&store, "retail.b").await);
    let mut conn = raw(&root.path().join("weir.db")).await;
    for sql in [
        "UPDATE mask_key SET sealed = (SELECT sealed FROM mask_key WHERE source = 1) WHERE source = 2",
        "UPDATE principal SET (scram_salt, scram_iterations, scram_sealed_password) =
            (SELECT scram_salt, scram_iterations, scram_sealed_password FROM principal WHERE name = 'tara')",
    ] {
        query(sql).execute(&mut conn).await.unwrap();
    }
    let e = store.mask_key(&b).await.unwrap_err().to_string();
    let expected =
        "key ring is unavailable: stored key 1 of data source 2 cannot be read: the master key does not open it";
    assert_eq!(e, expected);
    assert!(store.scram(&person("tara")).await.unwrap().is_some());
    assert!(store.scram(&person("nora")).await.is_err());
}

#[tokio::test]
async fn without_its_master_key_a_directory_is_refused_and_untouched() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.a", &[])]).await.unwrap();
    let scope = KeyScope::Source(source_id(&store, "retail.a").await);
    let before = key(&store, &scope).await;
    store.close().await.unwrap();
    let (path, database) = (root.path().join("master.key"), root.path().join("weir.db"));
    let (right, state) = (fs::read(&path).unwrap(), fs::read(&database).unwrap());
    assert_eq!(right.len(), 32);

    let refused = async || {
        let e = told(&Store::open(root.path(), Arc::new(Ticks::default())).await.unwrap_err());
        assert_eq!(fs::read(&database).unwrap(), state);
        e.strip_prefix(&format!("master key `{}` cannot be used: ", path.display())).unwrap().to_owned()
    };
    fs::remove_file(&path).unwrap();
    let missing = "it is missing, and without it no password and no mask of the data directory works; put it back";
    assert_eq!(refused().await, missing);
    assert!(!path.exists());
    for (wrong, why) in [
        (vec![7; 32], "it is not the one of this data directory"),
        (vec![7; 31], "it is not 32 bytes long"),
        (right.repeat(2), "it is not 32 bytes long"),
        (Vec::new(), "it is not 32 bytes long"),
    ] {
        fs::write(&path, wrong).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(refused().await, why);
    }
    fs::write(&path, right).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(refused().await, "others than its owner may read or change it; `chmod 600` ends that");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(key(&open(root.path()).await, &scope).await, before);
}

#[tokio::test]
async fn the_master_key_may_lie_elsewhere() {
    let (root, vault) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = vault.path().join("weir.key");
    let open_there = || Store::open_with_key(root.path(), &path, Arc::new(Ticks::default()));
    let store = open_there().await.unwrap();
    store.apply("local", vec![source("retail.a", &[])]).await.unwrap();
    store.close().await.unwrap();
    assert!(!root.path().join("master.key").exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Store::open(root.path(), Arc::new(Ticks::default())).await.is_err());
    assert_eq!(key(&open_there().await.unwrap(), &KeyScope::Source(SourceId(1))).await.0, 1);
}

/// What migrations that databases know must look like for ever.
#[tokio::test]
async fn migrations_are_what_they_were() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.close().await.unwrap();
    for (file, expected) in [
        ("weir.db", "18FCB6A47D92C8197DC42F85C79845FD45BB0836E66E5D1EBEFB14A5DBE4476A35810857403FE25A54E22F79CA1D7EA1"),
        (
            "audit.db",
            "26BD7493994F7DD57D5D7B19F3AD5D9C9B1BD1E2A068E39B5C8A286C4ED3E32449BD247922C7903F36CD5C3DE4635027",
        ),
    ] {
        let mut conn = raw(&root.path().join(file)).await;
        let found: String = query_scalar("SELECT hex(checksum) FROM _sqlx_migrations WHERE version = 1")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(found, expected, "{file}");
    }
}

const HASH_KEY: [u8; 32] = *b"a hash key from the old times...";
const REMOVED_KEY: [u8; 32] = *b"of a source that was removed....";
const SALTED: [u8; 32] = *b"a salted password of old times..";

/// A data directory of schema version 1, as a killed server leaves it.
async fn old_directory(dir: &Path) {
    let path = dir.join("weir.db");
    fs::write(&path, "").unwrap();
    let mut conn = raw(&path).await;
    query("PRAGMA journal_mode = WAL").execute(&mut conn).await.unwrap();
    let sql = include_str!("../../migrations/state/0001_state.sql").into_sql_str();
    let first = Migration::new(1, "state".into(), MigrationType::Simple, sql, false);
    Migrator::with_migrations(vec![first]).run(&mut conn).await.unwrap();
    for sql in [
        "INSERT INTO epoch (at_unix_ms, made_by, what) VALUES (5, 'local', 'add data source `retail.a`')",
        "INSERT INTO declared_group (name) VALUES ('Toys')",
        "INSERT INTO source (schema_name, table_name, location, tags, next_column)
            VALUES ('retail', 'a', '{\"kind\":\"files\",\"format\":\"parquet\",\"path\":\"/data\",\"partitions\":[]}', '[\"PII\"]', 2),
                ('retail', 'b', '{\"kind\":\"files\",\"format\":\"parquet\",\"path\":\"/data\",\"partitions\":[]}', '[]', 1)",
        "INSERT INTO source_column (source, id, position, name, type, nullable, tags)
            VALUES (1, 1, 1, 'ssn', '\"text\"', 1, '[]')",
    ] {
        query(sql).execute(&mut conn).await.unwrap();
    }
    query(
        "INSERT INTO principal (iam, name, groups, attributes, permissions, scram_salt, scram_iterations, scram_salted_password)
         VALUES ('weir', 'tara', '[\"Toys\"]', '{}', '[]', x'0102', 4096, ?), ('weir', 'nora', '[]', '{}', '[]', NULL, NULL, NULL)",
    )
    .bind(&SALTED[..])
    .execute(&mut conn)
    .await
    .unwrap();
    for (id, key) in [(1, HASH_KEY), (2, REMOVED_KEY)] {
        query("INSERT INTO hash_key (source, secret) VALUES (?, ?)")
            .bind(id)
            .bind(&key[..])
            .execute(&mut conn)
            .await
            .unwrap();
    }
    query("DELETE FROM source WHERE id = 2").execute(&mut conn).await.unwrap();
    query("DELETE FROM hash_key WHERE source = 2").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// Which files of the directory hold a secret as it is.
fn in_the_clear(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if [HASH_KEY, REMOVED_KEY, SALTED].iter().any(|secret| bytes.windows(32).any(|w| w == secret)) {
            files.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    files
}

#[tokio::test]
async fn what_lay_open_in_old_directories_is_encrypted() {
    let root = tempfile::tempdir().unwrap();
    old_directory(root.path()).await;
    assert_eq!(in_the_clear(root.path()), ["weir.db"]);
    for _ in 0..2 {
        let store = open(root.path()).await;
        assert_eq!(in_the_clear(root.path()), Vec::<String>::new());
        let scope = KeyScope::Source(SourceId(1));
        assert_eq!(key(&store, &scope).await, (1, HASH_KEY.to_vec()));
        assert_eq!(old(&store, &scope, 1).await, Some(HASH_KEY.to_vec()));
        let of = KeyOwner::Source(table("retail.a"));
        assert_eq!(store.keys().await.unwrap(), [KeyRecord { of, id: 1, made_at_unix_ms: None }]);
        let verifier = store.scram(&person("tara")).await.unwrap().unwrap();
        assert_eq!((verifier.salt, verifier.iterations), (vec![1, 2], 4096));
        assert_eq!(verifier.salted_password.expose(), SALTED);
        assert!(store.scram(&person("nora")).await.unwrap().is_none());
        let facts = store.facts().await.unwrap();
        assert_eq!((facts.epoch, facts.principals.len(), facts.sources.len()), (Some(Epoch(1)), 2, 1));
        assert_eq!((facts.sources[0].row_key.len(), facts.sources[0].event_time), (0, None));
        store.close().await.unwrap();
    }
    let store = open(root.path()).await;
    let of = KeyOwner::Source(table("retail.a"));
    assert_eq!(store.apply("local", vec![Change::RotateKey(of)]).await.unwrap(), Epoch(2));
    assert_eq!(old(&store, &KeyScope::Source(SourceId(1)), 1).await, Some(HASH_KEY.to_vec()));
    store.close().await.unwrap();
    assert_eq!(crate::integrity(&root.path().join("weir.db")).await, "ok, 0 dangling");
}

#[tokio::test]
async fn an_old_directory_stays_old_when_no_master_key_can_be_made() {
    let root = tempfile::tempdir().unwrap();
    old_directory(root.path()).await;
    let before = fs::read(root.path().join("weir.db")).unwrap();
    let path = root.path().join("master.key");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let e = told(&Store::open(root.path(), Arc::new(Ticks::default())).await.unwrap_err());
    assert!(e.starts_with(&format!("cannot read `{}`", path.display())), "{e}");
    assert_eq!(fs::read(root.path().join("weir.db")).unwrap(), before);
    fs::remove_dir(&path).unwrap();

    // A key that an attempt left behind is the one.
    fs::write(&path, [9; 32]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let store = open(root.path()).await;
    assert_eq!(key(&store, &KeyScope::Source(SourceId(1))).await, (1, HASH_KEY.to_vec()));
    assert_eq!(fs::read(&path).unwrap(), [9; 32]);
}

fn connection(name: &str) -> Connection {
    let address = Address {
        kind: DatabaseKind::Postgresql,
        host: "db.example.com".to_owned(),
        port: 5432,
        database: "crm".to_owned(),
        user: "weir".to_owned(),
        tls: Tls::Off,
    };
    Connection { name: ConnectionName::new(name).unwrap(), address, password: Secret::new("first secret") }
}

#[tokio::test]
async fn passwords_of_connections_lie_encrypted() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let name = || ConnectionName::new("crm").unwrap();
    let held = async || store.connection(&name()).await.map(|found| found.password.expose().to_vec());
    assert!(held().await.is_err());
    store.apply("local", vec![Change::AddConnection(connection("crm"))]).await.unwrap();
    assert_eq!(held().await.unwrap(), b"first secret");
    assert!(refused(&store, vec![Change::AddConnection(connection("crm"))]).await.contains("already exists"));
    let password = Secret::new("second secret");
    store.apply("local", vec![Change::SetConnectionPassword { connection: name(), password }]).await.unwrap();
    assert_eq!(held().await.unwrap(), b"second secret");
    let listed = store.connections().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].target, listed[0].sources), (&Target::Database(connection("crm").address), 0));
    for changed in store.changes(10).await.unwrap() {
        assert!(!changed.what.contains("secret"), "{}", changed.what);
    }
    store.close().await.unwrap();
    for file in ["weir.db", "weir.db-wal", "audit.db"] {
        let bytes = fs::read(root.path().join(file)).unwrap_or_default();
        let secret = b"secret";
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{file}");
    }
}

#[tokio::test]
async fn keys_of_stores_lie_encrypted_and_lead_to_no_database() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let name = ConnectionName::new("lake").unwrap();
    let address = StoreAddress {
        kind: StoreKind::S3,
        url: "s3://bucket".to_owned(),
        endpoint: None,
        region: Some("eu-central-1".to_owned()),
        access: Access::Secret { user: Some("AKID".to_owned()) },
        authorities: None,
    };
    let lake = StoreConnection { name: name.clone(), address: address.clone(), secret: Secret::new("first secret") };
    store.apply("local", vec![Change::AddStore(lake)]).await.unwrap();
    assert_eq!(store.connections().await.unwrap()[0].target, Target::Store(address.clone()));
    let held = store.store(&name).await.unwrap();
    assert_eq!((held.address, held.secret.expose()), (address, b"first secret".as_slice()));
    assert!(store.connection(&name).await.unwrap_err().to_string().contains("leads to files"));
    store.apply("local", vec![Change::AddConnection(connection("crm"))]).await.unwrap();
    let database = ConnectionName::new("crm").unwrap();
    assert!(store.store(&database).await.unwrap_err().to_string().contains("leads to a database"));
    let Change::AddSource(mut orders) = source("lake.orders", &[]) else { unreachable!("a source") };
    let (connection, url) = (name.clone(), "s3://bucket/orders/".to_owned());
    orders.location = Location::Objects { connection, format: FileFormat::Parquet, url, partitions: Vec::new() };
    store.apply("local", vec![Change::AddSource(orders)]).await.unwrap();
    let remove = vec![Change::RemoveConnection(name.clone())];
    assert!(refused(&store, remove).await.contains("in use by data source `lake.orders`"));
    let password = Secret::new("second secret");
    store.apply("local", vec![Change::SetConnectionPassword { connection: name.clone(), password }]).await.unwrap();
    assert_eq!(store.store(&name).await.unwrap().secret.expose(), b"second secret");
    store.close().await.unwrap();
    for file in ["weir.db", "weir.db-wal", "audit.db"] {
        let bytes = fs::read(root.path().join(file)).unwrap_or_default();
        for secret in [b"first secret".as_slice(), b"second secret"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{file}");
        }
    }
}

#[tokio::test]
async fn a_connection_stays_while_a_data_source_is_in_it() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let name = ConnectionName::new("crm").unwrap();
    let Change::AddSource(mut orders) = source("crm.orders", &[]) else { unreachable!("a source") };
    orders.location = Location::Table { connection: name.clone(), schema: "s".to_owned(), table: "t".to_owned() };
    let add = || vec![Change::AddSource(orders.clone())];
    assert!(refused(&store, add()).await.contains("connection `crm` does not exist"));
    store.apply("local", vec![Change::AddConnection(connection("crm"))]).await.unwrap();
    store.apply("local", add()).await.unwrap();
    assert_eq!(store.connections().await.unwrap()[0].sources, 1);
    let remove = || vec![Change::RemoveConnection(name.clone())];
    assert!(refused(&store, remove()).await.contains("in use by data source `crm.orders`"));
    store.apply("local", vec![Change::RemoveSource(table("crm.orders"))]).await.unwrap();
    store.apply("local", remove()).await.unwrap();
    assert!(store.connections().await.unwrap().is_empty());
    // One of the same name is another one.
    let other = Connection { password: Secret::new("other"), ..connection("crm") };
    store.apply("local", vec![Change::AddConnection(other)]).await.unwrap();
    assert_eq!(store.connection(&name).await.unwrap().password.expose(), b"other");
}
