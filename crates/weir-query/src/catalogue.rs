//! The catalogue that one actor sees: the tables of the statement, ready to be scanned, and the names and columns of
//! the other sources she may read, for listings. What she may not read is not in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, Session, TableProvider};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use weir_guard::Request;
use weir_model::{DataSource, PrincipalId, SourceName, Surroundings};
use weir_policy::Snapshot;

/// The one database.
pub const CATALOG: &str = "weir";
/// Where PostgreSQL's own tables are.
pub(crate) const PG_CATALOG: &str = "pg_catalog";
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";
/// The schema of names without one.
pub(crate) const DEFAULT_SCHEMA: &str = "public";

/// What a principal may read, by name; no more than names and column types.
#[derive(Clone)]
pub(crate) struct Visible {
    snapshot: Arc<Snapshot>,
    principal: PrincipalId,
    surroundings: Surroundings,
    tables: Arc<OnceLock<Listing>>,
}

type Listing = BTreeMap<String, BTreeMap<String, SchemaRef>>;

impl Visible {
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            snapshot: Arc::clone(request.snapshot()),
            principal: request.principal().id.clone(),
            surroundings: request.surroundings().clone(),
            tables: Arc::default(),
        }
    }

    pub(crate) fn list(&self) -> Vec<VisibleTable> {
        let of_schema = |(schema, tables): (&String, &BTreeMap<String, SchemaRef>)| {
            let table = |(table, columns): (&String, &SchemaRef)| VisibleTable {
                schema: schema.clone(),
                table: table.clone(),
                columns: Arc::clone(columns),
            };
            tables.iter().map(table).collect::<Vec<_>>()
        };
        self.tables().iter().flat_map(of_schema).collect()
    }

    fn tables(&self) -> &Listing {
        self.tables.get_or_init(|| {
            let mut listing = Listing::new();
            for source in self.snapshot.visible(&self.principal, &self.surroundings) {
                let schema = listing.entry(source.name.schema().to_owned()).or_default();
                schema.insert(source.name.table().to_owned(), listed_schema(source));
            }
            listing
        })
    }
}

/// A data source in a listing: its name and what columns it has, masked or not.
#[derive(Clone, Debug)]
pub struct VisibleTable {
    pub schema: String,
    pub table: String,
    pub columns: SchemaRef,
}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visible").field("principal", &self.principal).finish_non_exhaustive()
    }
}

fn listed_schema(source: &DataSource) -> SchemaRef {
    // Any column may be masked to NULL.
    let field = |c: &weir_model::Column| Field::new(c.name.as_str(), weir_sources::arrow_type(&c.data_type), true);
    Arc::new(Schema::new(source.columns.iter().map(field).collect::<Vec<_>>()))
}

/// For `pg_catalog`.
#[async_trait]
impl CatalogInfo for Visible {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        let system = [INFORMATION_SCHEMA, PG_CATALOG].map(str::to_owned);
        Ok((catalog == CATALOG).then(|| self.tables().keys().cloned().chain(system).collect()))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Result<Option<Vec<String>>> {
        Ok(self.tables().get(schema).map(|tables| tables.keys().cloned().collect()))
    }

    async fn table_schema(&self, _: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        Ok(self.tables().get(schema).and_then(|tables| tables.get(table)).cloned())
    }

    async fn table_type(&self, _: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        Ok(self.tables().get(schema).and_then(|tables| tables.get(table)).map(|_| TableType::Base))
    }
}

/// `pg_catalog` for each principal, kept for as long as the snapshot holds, so that the object ids which a client got in
/// one statement mean the same in the next.
pub(crate) struct PgCatalogs {
    fixed: Arc<PgCatalogStaticTables>,
    open: Mutex<HashMap<(PrincipalId, Surroundings), Opened>>,
}

/// A snapshot may be followed by another one of the same epoch, when something approved for a time runs out.
type Opened = (Arc<Snapshot>, Arc<dyn SchemaProvider>);

impl PgCatalogs {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { fixed: Arc::new(PgCatalogStaticTables::try_new()?), open: Mutex::default() })
    }

    pub(crate) fn get(&self, visible: &Visible) -> Result<Arc<dyn SchemaProvider>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // What is listed depends on all of the surroundings but the time.
        let key = (visible.principal.clone(), Surroundings { at_unix_ms: 0, ..visible.surroundings.clone() });
        if let Some((known, catalog)) = open.get(&key)
            && Arc::ptr_eq(known, &visible.snapshot)
        {
            return Ok(Arc::clone(catalog));
        }
        open.retain(|_, (known, _)| Arc::ptr_eq(known, &visible.snapshot));
        let catalog = PgCatalogSchemaProvider::try_new(visible.clone(), Arc::clone(&self.fixed), EmptyContextProvider)?;
        let catalog: Arc<dyn SchemaProvider> = Arc::new(catalog);
        open.insert(key, (Arc::clone(&visible.snapshot), Arc::clone(&catalog)));
        Ok(catalog)
    }
}

impl fmt::Debug for PgCatalogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgCatalogs")
    }
}

/// All that name resolution of one statement can reach.
#[derive(Debug)]
pub(crate) struct ActorCatalogue {
    /// By schema.
    schemas: BTreeMap<String, Arc<dyn SchemaProvider>>,
}

impl ActorCatalogue {
    /// `bound` are the tables that the statement names, `system` the system schemas where it names those. Listings
    /// are in the catalogue only with the latter.
    pub(crate) fn list(
        bound: HashMap<SourceName, Arc<dyn TableProvider>>,
        visible: Option<&Visible>,
        pg_catalog: Option<Arc<dyn SchemaProvider>>,
    ) -> Arc<dyn CatalogProviderList> {
        let mut tables: BTreeMap<String, BTreeMap<String, Arc<dyn TableProvider>>> = BTreeMap::new();
        for (schema, listed) in visible.into_iter().flat_map(|visible| visible.tables()) {
            let into = tables.entry(schema.clone()).or_default();
            for (table, shape) in listed {
                into.insert(table.clone(), Arc::new(ListedTable(Arc::clone(shape))));
            }
        }
        for (name, provider) in bound {
            tables.entry(name.schema().to_owned()).or_default().insert(name.table().to_owned(), provider);
        }
        let mut schemas: BTreeMap<String, Arc<dyn SchemaProvider>> = BTreeMap::new();
        for (schema, tables) in tables {
            schemas.insert(schema, Arc::new(ActorSchema(tables)));
        }
        if let Some(pg_catalog) = pg_catalog {
            schemas.insert(PG_CATALOG.to_owned(), pg_catalog);
        }
        Arc::new(Catalogues(Arc::new(Self { schemas })))
    }
}

impl CatalogProvider for ActorCatalogue {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).cloned()
    }
}

#[derive(Debug)]
struct Catalogues(Arc<ActorCatalogue>);

impl CatalogProviderList for Catalogues {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

#[derive(Debug)]
struct ActorSchema(BTreeMap<String, Arc<dyn TableProvider>>);

#[async_trait]
impl SchemaProvider for ActorSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A table in a listing: columns, no rows. No statement can scan it, because the names of a statement are bound.
#[derive(Debug)]
struct ListedTable(SchemaRef);

#[async_trait]
impl TableProvider for ListedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("a listed table was scanned")
    }
}
