//! A table of a remote database as the engine sees it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use weir_model::{DataSource, DataType};

use super::catalog::{self, Kind, RemoteColumn};
use super::dialect::Dialect;
use super::expr::{Plain, Term};
use super::pool::Pool;
use super::relation::{Asked, Relation};
use super::sql::Sql;
use crate::error::SourceError;

/// The registered columns, in the order of registration.
#[derive(Clone)]
pub(crate) struct RemoteTable(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    /// Schema and table, as they are called over there.
    name: (String, String),
    columns: Vec<(String, Kind)>,
    dialect: Dialect,
    rows: Option<usize>,
    schema: SchemaRef,
}

impl RemoteTable {
    /// Finds out whether the table still fits what was registered.
    pub(crate) async fn open(
        pool: Arc<Pool>,
        (schema, table): (&str, &str),
        source: &DataSource,
    ) -> std::result::Result<Self, SourceError> {
        let mut lease = pool.lease().await?;
        let dialect = lease.dialect();
        let name: Arc<str> = format!("table `{schema}.{table}` of connection `{}`", pool.name()).into();
        let found = lease.tables(schema, Some(table), false).await?.pop();
        let wrong = |why: String| SourceError::Table { table: Arc::clone(&name), why };
        let found = found.ok_or_else(|| wrong("it is not there any more".to_owned()))?;
        let mut columns = Vec::with_capacity(source.columns.len());
        for column in &source.columns {
            let RemoteColumn { name: column_name, kind, .. } = catalog::find(&found, column.name.as_str(), &name)?;
            if kind.data_type != column.data_type {
                let (now, before) = (&kind.data_type, &column.data_type);
                return Err(wrong(format!("column `{column_name}` has become {now}; it was registered as {before}")));
            }
            columns.push((column_name.clone(), kind.clone()));
        }
        // What may not be NULL today may be tomorrow, while rows are read.
        let fields = columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let name = (found.schema, found.table);
        Ok(Self(Arc::new(Inner { pool, name, columns, dialect, rows: found.rows, schema })))
    }
}

impl Inner {
    fn term(&self, alias: &str, place: usize) -> Option<Term> {
        let (name, kind) = self.columns.get(place)?;
        let plain = Sql::identifier(alias).then(".").then(Sql::identifier(name));
        let sql = plain.clone().between(kind.said.0, kind.said.1);
        let whole = match kind.data_type {
            DataType::Decimal { precision, scale } => u32::try_from(i16::from(precision) - i16::from(scale)).ok()?,
            _ => 0,
        };
        let plain = kind.collation.clone().map(|collation| Plain { sql: plain, collation: Some(collation) });
        Some(Term { sql, data_type: kind.arrow(), dialect: self.dialect, whole, plain })
    }
}

/// A scan of a table with nothing asked of it, to make other queries of.
#[derive(Clone)]
pub struct Base {
    table: Arc<Inner>,
    projection: Vec<usize>,
}

impl Base {
    /// The rows, and the columns of the scan, under a name that no other table of the query has.
    pub fn named(&self, alias: &str) -> (Relation, Vec<Option<Term>>) {
        let (schema, table) = &self.table.name;
        let name = Sql::identifier(schema).then(".").then(Sql::identifier(table));
        let from = name.then(" AS ").then(Sql::identifier(alias));
        let relation = Relation::table(Arc::clone(&self.table.pool), self.table.dialect, from, self.table.rows);
        (relation, self.projection.iter().map(|place| self.table.term(alias, *place)).collect())
    }
}

impl fmt::Debug for RemoteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteTable")
    }
}

#[async_trait]
impl TableProvider for RemoteTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// All rows: what is asked of them is put into the query when the plan is made.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.0.columns.len()).collect());
        let schema = self.0.schema.project(&projection)?;
        let base = Base { table: Arc::clone(&self.0), projection };
        let (mut relation, terms) = base.named("t");
        let mut asked = Vec::with_capacity(terms.len());
        for (term, field) in terms.into_iter().zip(schema.fields()) {
            let term = term.ok_or_else(|| internal_datafusion_err!("a projection beyond the schema"))?;
            asked.push(Asked { term, field: field.as_ref().clone(), lenient: false });
        }
        match limit {
            None => Ok(Arc::new(relation.read(asked).over(base))),
            Some(limit) => {
                relation.limit(limit);
                Ok(Arc::new(relation.read(asked)))
            }
        }
    }
}
