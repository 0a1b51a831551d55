//! A table of files that stay readable, in the version that was planned, for as long as a plan that reads them lives.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::planned::FileSet;

#[derive(Debug)]
pub(crate) struct PlannedTable {
    pub(crate) table: ListingTable,
    pub(crate) set: Arc<FileSet>,
}

#[async_trait]
impl TableProvider for PlannedTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.table.scan(state, projection, filters, limit).await?;
        holding(scan, &self.set)
    }
}

/// The same scan, each of whose files holds the set that it is read from.
pub(crate) fn holding(scan: Arc<dyn ExecutionPlan>, set: &Arc<FileSet>) -> Result<Arc<dyn ExecutionPlan>> {
    let held = scan.transform_down(|node| {
        let Some(source) = node.downcast_ref::<DataSourceExec>() else { return Ok(Transformed::no(node)) };
        let source: &dyn Any = source.data_source().as_ref();
        let Some(files) = source.downcast_ref::<FileScanConfig>() else { return Ok(Transformed::no(node)) };
        let mut files = files.clone();
        for group in &mut files.file_groups {
            let statistics = group.file_statistics(None).cloned();
            let held = group.files().iter().map(|file| file.clone().with_extension(Arc::clone(set))).collect();
            *group = match statistics {
                Some(statistics) => FileGroup::new(held).with_statistics(Arc::new(statistics)),
                None => FileGroup::new(held),
            };
        }
        Ok::<_, DataFusionError>(Transformed::yes(DataSourceExec::from_data_source(files) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(held.data)
}
