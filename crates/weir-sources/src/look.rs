//! What the rows of a source are like: every one of them is read, and nothing but counts, least and greatest values leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType as Arrow, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{Column as Named, Result, internal_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionConfig;
use weir_model::{Column, ColumnId, ColumnName, DataSource, Location, Profile, TypeClass, Value};

use crate::error::SourceError;
use crate::files::{Connect, RawTable, Sources};

/// Beyond it, counting different values goes on on disk.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// A source whose rows are being looked at, whatever policies say: for whoever registers it.
pub struct Look {
    state: SessionState,
    source: DataSource,
    raw: RawTable,
}

impl Look {
    pub async fn new(source: DataSource, connect: Connect) -> Result<Self, SourceError> {
        let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc();
        let runtime = runtime.map_err(|e| unreadable(&source, &e))?;
        // The engine pushes the bound of one `min` below the counts beside it, which need the rows that it drops.
        let config =
            SessionConfig::new().set_bool("datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown", false);
        let state = SessionStateBuilder::new().with_default_features().with_config(config).with_runtime_env(runtime);
        let state = state.build();
        let raw = Sources::new(connect).open(&state, &source).await?;
        Ok(Self { state, source, raw })
    }

    /// What each column holds, one after the other.
    pub async fn profiles(&self) -> Result<BTreeMap<ColumnName, Profile>, SourceError> {
        let mut profiles = BTreeMap::new();
        for column in &self.source.columns {
            let profile = self.profile(column).await.map_err(|e| unreadable(&self.source, &e))?;
            profiles.insert(column.name.clone(), profile);
        }
        Ok(profiles)
    }

    /// How many different rows there would be if they had these columns alone.
    pub async fn distinct(&self, columns: &[ColumnId]) -> Result<u64, SourceError> {
        self.count_distinct(columns).await.map_err(|e| unreadable(&self.source, &e))
    }

    async fn profile(&self, column: &Column) -> Result<Profile> {
        let class = column.data_type.class();
        let place = self.place(column.id)?;
        let name = self.raw.provider.schema().field(place).name().clone();
        let value = || Expr::Column(Named::new_unqualified(name.as_str()));
        let mut wanted = vec![count(lit(1_i64)).alias("rows"), count(value()).alias("values")];
        let ordered = match class {
            TypeClass::Number | TypeClass::Date | TypeClass::Timestamp => true,
            TypeClass::Boolean | TypeClass::Text | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => false,
        };
        if ordered {
            wanted.extend([min(value()).alias("least"), max(value()).alias("greatest")]);
        }
        let plan = self.scan(vec![place])?.aggregate(Vec::<Expr>::new(), wanted)?.build()?;
        let answer = self.one_row(&plan).await?;
        let (rows, values) = (number(&answer, 0)?, number(&answer, 1)?);
        let nulls = rows.saturating_sub(values);
        let distinct = match class {
            TypeClass::Nested => None,
            TypeClass::Boolean
            | TypeClass::Number
            | TypeClass::Text
            | TypeClass::Binary
            | TypeClass::Date
            | TypeClass::Time
            | TypeClass::Timestamp => {
                // NULL is a row of its own there.
                Some(self.count_distinct(&[column.id]).await?.saturating_sub(u64::from(nulls > 0)))
            }
        };
        let (least, greatest) = if ordered { (answer.get(2), answer.get(3)) } else { (None, None) };
        let (least, greatest) = (told(least, class)?, told(greatest, class)?);
        Ok(Profile { rows, nulls, distinct, least, greatest })
    }

    async fn count_distinct(&self, columns: &[ColumnId]) -> Result<u64> {
        let places = columns.iter().map(|id| self.place(*id)).collect::<Result<Vec<_>>>()?;
        let wanted = vec![count(lit(1_i64)).alias("rows")];
        let plan = self.scan(places)?.distinct()?.aggregate(Vec::<Expr>::new(), wanted)?.build()?;
        number(&self.one_row(&plan).await?, 0)
    }

    fn place(&self, column: ColumnId) -> Result<usize> {
        let found = self.raw.columns.iter().find(|(known, _)| *known == column).map(|(_, place)| *place);
        found.ok_or_else(|| internal_datafusion_err!("a column to look at is not there"))
    }

    fn scan(&self, places: Vec<usize>) -> Result<LogicalPlanBuilder> {
        LogicalPlanBuilder::scan("raw", provider_as_source(Arc::clone(&self.raw.provider)), Some(places))
    }

    /// The columns of the only row that the plan gives.
    async fn one_row(&self, plan: &LogicalPlan) -> Result<Vec<ArrayRef>> {
        let physical = self.state.create_physical_plan(plan).await?;
        let batches = collect(physical, self.state.task_ctx()).await?;
        let mut answers = batches.into_iter().filter(|batch| batch.num_rows() > 0);
        match (answers.next(), answers.next()) {
            (Some(answer), None) if answer.num_rows() == 1 => Ok(answer.columns().to_vec()),
            _ => Err(internal_datafusion_err!("an aggregate without groups gave not one row")),
        }
    }
}

/// A count.
fn number(answer: &[ArrayRef], at: usize) -> Result<u64> {
    let counted =
        answer.get(at).and_then(|column| column.as_primitive_opt::<Int64Type>()).map(|column| column.value(0));
    let counted = counted.and_then(|counted| u64::try_from(counted).ok());
    counted.ok_or_else(|| internal_datafusion_err!("a count is not a number"))
}

/// The only value of the column, unless it is NULL or no finite number.
fn told(column: Option<&ArrayRef>, class: TypeClass) -> Result<Option<Value>> {
    let Some(column) = column.filter(|column| !column.is_null(0)) else { return Ok(None) };
    Ok(match class {
        TypeClass::Number => {
            let text = array_value_to_string(column, 0)?;
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => Some(Value::Int(whole)),
                (Err(_), Ok(number)) if number.is_finite() => Some(Value::Number(text)),
                (Err(_), _) => None,
            }
        }
        TypeClass::Date => {
            let days = cast(column, &Arrow::Date32)?;
            days.as_primitive_opt::<Date32Type>().filter(|days| !days.is_null(0)).map(|days| Value::Date(days.value(0)))
        }
        TypeClass::Timestamp => {
            let zone = match column.data_type() {
                Arrow::Timestamp(_, zone) => zone.clone(),
                other => return Err(internal_datafusion_err!("a timestamp is {other}")),
            };
            let at = cast(column, &Arrow::Timestamp(TimeUnit::Microsecond, zone))?;
            let at = at.as_primitive_opt::<TimestampMicrosecondType>().filter(|at| !at.is_null(0));
            at.map(|at| Value::Timestamp(at.value(0)))
        }
        TypeClass::Boolean | TypeClass::Text | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => None,
    })
}

fn unreadable(source: &DataSource, e: &datafusion::error::DataFusionError) -> SourceError {
    match &source.location {
        Location::Files { format, path, .. } => {
            SourceError::Malformed { path: path.clone(), format: format.as_str(), why: e.strip_backtrace() }
        }
        Location::Objects { format, url, .. } => {
            SourceError::Malformed { path: url.into(), format: format.as_str(), why: e.strip_backtrace() }
        }
        Location::Table { connection, schema, table } => SourceError::Table {
            table: format!("table `{schema}.{table}` of connection `{connection}`").into(),
            why: e.strip_backtrace(),
        },
        Location::View { .. } => SourceError::View { name: source.name.clone() },
    }
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("source", &self.source.name).finish_non_exhaustive()
    }
}
