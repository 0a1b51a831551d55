//! What is asked of one database, while it is put together: tables that are joined, conditions, columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType as Arrow, Field};
use weir_model::DatabaseKind;

use super::dialect::{Dialect, is_whole};
use super::expr::{Keys, Term, Translator};
use super::pool::Pool;
use super::scan::{RemoteScan, Sent};
use super::sql::Sql;

/// Rows of tables of one database.
#[derive(Clone)]
pub struct Relation {
    pool: Arc<Pool>,
    dialect: Dialect,
    /// What stands behind `FROM`.
    from: Sql,
    conditions: Vec<Sql>,
    limit: Option<usize>,
    rows: Option<usize>,
}

/// A column of an answer.
pub struct Asked {
    pub term: Term,
    pub field: Field,
    /// A value that the type does not have is NULL instead of an error.
    pub lenient: bool,
}

/// An aggregate whose state is computed over there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    CountRows,
    Count,
    Sum,
    Min,
    Max,
}

impl Relation {
    pub(super) fn table(pool: Arc<Pool>, dialect: Dialect, from: Sql, rows: Option<usize>) -> Self {
        Self { pool, dialect, from, conditions: Vec::new(), limit: None, rows }
    }

    /// Translates over columns of which some can be had over there.
    pub fn translator<'a>(&self, columns: &'a [Option<Term>], keys: Keys<'a>) -> Translator<'a> {
        Translator { columns, keys, dialect: self.dialect }
    }

    /// Only rows for which the condition is true. Not on rows that were counted off.
    pub fn keep(&mut self, condition: Term) -> Option<()> {
        self.limit.is_none().then(|| self.conditions.push(condition.sql))
    }

    /// At most so many rows, whichever.
    pub fn limit(&mut self, rows: usize) {
        self.limit = Some(self.limit.map_or(rows, |before| before.min(rows)));
    }

    /// All pairs of rows of the two, in the same database and as the same user.
    pub fn cross(self, other: Relation) -> Option<Relation> {
        if !Arc::ptr_eq(&self.pool, &other.pool) || self.limit.is_some() || other.limit.is_some() {
            return None;
        }
        let conditions = self.conditions.into_iter().chain(other.conditions).collect();
        let rows = self.rows.max(other.rows);
        let from = self.from.then(", ").then(other.from);
        Some(Self { from, conditions, rows, ..self })
    }

    /// The rows for which there is one, or none, of the other that meets the condition.
    pub fn matched(self, other: Relation, condition: Term, negated: bool) -> Option<Relation> {
        if !Arc::ptr_eq(&self.pool, &other.pool) || self.limit.is_some() || other.limit.is_some() {
            return None;
        }
        let conditions = Sql::joined(other.conditions.into_iter().chain([condition.sql]), " AND ");
        let op = if negated { "NOT EXISTS" } else { "EXISTS" };
        let exists = Sql::from(op).then(" (SELECT 1 FROM ").then(other.from).then(" WHERE ").then(conditions).then(")");
        let mut this = self;
        this.conditions.push(exists.in_parentheses());
        Some(this)
    }

    /// The rows with these columns.
    pub fn read(&self, columns: Vec<Asked>) -> RemoteScan {
        let list: Vec<Sql> = columns.iter().map(|column| column.term.sql.clone()).collect();
        let sql = self.select(list, Sql::default());
        let sent = columns.iter().map(|column| Sent { sum: false, lenient: column.lenient }).collect();
        let fields = columns.into_iter().map(|column| column.field).collect();
        RemoteScan::new(Arc::clone(&self.pool), sql, (fields, sent), self.rows)
    }

    /// The groups with their aggregates, in columns of these types; `None` for what does not mean the same there.
    pub fn grouped(
        &self,
        groups: &[Term],
        aggregates: &[(Aggregate, Option<Term>, Option<Term>)],
        fields: Vec<Field>,
    ) -> Option<RemoteScan> {
        if self.limit.is_some() || groups.iter().any(|group| !self.dialect.is_exact(&group.data_type)) {
            return None;
        }
        let (mut list, mut sent) = (Vec::new(), Vec::new());
        for group in groups {
            list.push(group.by_bytes());
            sent.push(Sent { sum: false, lenient: false });
        }
        for (aggregate, of, filter) in aggregates {
            let (sql, sum) = self.aggregated(*aggregate, of.as_ref(), filter.as_ref())?;
            list.push(sql);
            sent.push(Sent { sum, lenient: false });
        }
        if fields.len() != sent.len() {
            return None;
        }
        let by = match groups.len() {
            0 => Sql::default(),
            count => {
                // By their places, so that parameters in them stand for the same.
                let places = (1..=count).map(|place| Sql::text(place.to_string()));
                Sql::from(" GROUP BY ").then(Sql::joined(places, ", "))
            }
        };
        let sql = self.select(list, by);
        Some(RemoteScan::new(Arc::clone(&self.pool), sql, (fields, sent), None))
    }

    /// The aggregate of the rows for which the filter is true, and whether it is a sum with any digits.
    fn aggregated(&self, aggregate: Aggregate, of: Option<&Term>, filter: Option<&Term>) -> Option<(Sql, bool)> {
        let call = |name: &'static str, of: Sql| {
            let of = match filter {
                // Aggregates pass over NULL.
                Some(filter) => filter.sql.clone().between("CASE WHEN ", " THEN ").then(of).then(" END"),
                None => of,
            };
            Sql::from(name).then(of).then(")")
        };
        Some(match (aggregate, of) {
            (Aggregate::CountRows, None) if filter.is_none() => (Sql::from("count(*)"), false),
            (Aggregate::CountRows, None) => (call("count(", Sql::from("1")), false),
            (Aggregate::Count, Some(of)) => (call("count(", of.sql.clone()), false),
            (Aggregate::Sum, Some(of)) => (call("sum(", of.sql.clone()), self.dialect.sums(&of.data_type)?),
            (Aggregate::Min | Aggregate::Max, Some(of)) => {
                let ordered = match &of.data_type {
                    Arrow::Utf8 => self.dialect.utf8,
                    Arrow::Date32 | Arrow::Timestamp(..) | Arrow::Time64(_) => self.dialect.is_exact(&of.data_type),
                    of => is_whole(of) || of.is_decimal(),
                };
                if !ordered {
                    return None;
                }
                (call(if aggregate == Aggregate::Min { "min(" } else { "max(" }, of.collated()), false)
            }
            (Aggregate::CountRows, Some(_))
            | (Aggregate::Count | Aggregate::Sum | Aggregate::Min | Aggregate::Max, None) => {
                return None;
            }
        })
    }

    fn select(&self, mut list: Vec<Sql>, group_by: Sql) -> Sql {
        if list.is_empty() && self.pool.kind() != DatabaseKind::Postgresql {
            // Rows without columns are there in PostgreSQL only.
            list.push(Sql::from("1"));
        }
        let mut sql = Sql::from("SELECT ").then(Sql::joined(list, ", ")).then(" FROM ").then(self.from.clone());
        if !self.conditions.is_empty() {
            sql = sql.then(" WHERE ").then(Sql::joined(self.conditions.iter().cloned(), " AND "));
        }
        sql = sql.then(group_by);
        match self.limit {
            Some(limit) => sql.then(Sql::text(format!(" LIMIT {limit}"))),
            None => sql,
        }
    }
}
