//! Subqueries where a value or a condition stands.

use super::relation::forget;
use super::{Asker, Column, Kind};

impl Asker<'_> {
    /// A table under a name with this prefix, and its columns.
    fn inner(&mut self, prefix: &str) -> (String, Vec<Column>) {
        let alias = self.name(prefix);
        let table = self.table();
        let columns = table.columns.into_iter().map(|c| c.of(&alias)).collect();
        (format!("{} AS {alias}", table.name), columns)
    }

    /// The condition of a WHERE: as any condition, or with a subquery.
    pub(super) fn filter(&mut self, columns: &mut [Column], depth: usize) -> String {
        if depth == 0 || !self.dice.chance(25) {
            return self.condition(columns, 2);
        }
        let test = self.tested(columns);
        let test = test.unwrap_or_else(|| self.condition(columns, 2));
        if self.dice.chance(40) { format!("{test} AND {}", self.condition(columns, 2)) } else { test }
    }

    fn tested(&mut self, columns: &mut [Column]) -> Option<String> {
        let correlated = self.dice.chance(40);
        let (from, mut inner) = self.inner(if correlated { "cor" } else { "whr" });
        let column = self.dice.pick(columns).clone();
        let other = self.column_of(column.kind, &inner)?;
        forget(columns, &column.sql);
        forget(&mut inner, &other.sql);
        let not = if self.dice.chance(30) { "NOT " } else { "" };
        if correlated {
            let equal = self.correlation(columns, &mut inner)?;
            let (column, other) = (column.sql, other.sql);
            return Some(match self.dice.below(5) {
                // The engine has no NOT IN with a second comparison.
                0 => format!("{column} IN (SELECT {other} FROM {from} WHERE {equal})"),
                1 => {
                    let scalar = self.scalar_over(Kind::Int, &from, &inner, Some(&equal));
                    format!("{} <= {scalar}", self.expression(Kind::Int, columns, 1))
                }
                2 => format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {equal} AND {other} > {column})"),
                _ => format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {equal} AND {})", self.condition(&inner, 1)),
            });
        }
        let more = self.condition(&inner, 1);
        let (column, kind, other) = (column.sql, column.kind, other.sql);
        Some(match self.dice.below(6) {
            0 => format!("{column} {not}IN (SELECT {other} FROM {from} WHERE {more})"),
            1 => format!("{column} {not}IN (SELECT {other} FROM {from})"),
            2 if kind != Kind::Boolean => format!("{column} >= (SELECT min({other}) FROM {from} WHERE {more})"),
            3 => format!("{column} = ANY (SELECT {other} FROM {from} WHERE {more})"),
            4 => format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {more})"),
            _ => format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {other} = {column} AND {more})"),
        })
    }

    /// That a column inside is equal to one outside.
    fn correlation(&mut self, outer: &mut [Column], inner: &mut [Column]) -> Option<String> {
        let pairs: Vec<(String, String)> = outer
            .iter()
            .flat_map(|o| inner.iter().map(move |i| (o, i)))
            .filter(|(o, i)| o.kind == i.kind && o.kind != Kind::Boolean)
            .map(|(o, i)| (o.sql.clone(), i.sql.clone()))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let (outside, inside) = self.dice.pick(&pairs).clone();
        forget(outer, &outside);
        forget(inner, &inside);
        Some(format!("{inside} = {outside}"))
    }

    /// A subquery that gives one value of the kind.
    pub(super) fn scalar(&mut self, kind: Kind, prefix: &str, columns: &mut [Column]) -> String {
        let (from, mut inner) = self.inner(prefix);
        let equal = if self.dice.chance(50) { self.correlation(columns, &mut inner) } else { None };
        self.scalar_over(kind, &from, &inner, equal.as_deref())
    }

    fn scalar_over(&mut self, kind: Kind, from: &str, inner: &[Column], equal: Option<&str>) -> String {
        let of_kind = self.column_of(kind, inner);
        let value = match of_kind {
            Some(column) if kind == Kind::Boolean => format!("bool_or({})", column.sql),
            Some(column) if kind != Kind::Int || self.dice.chance(50) => {
                format!("{}({})", self.dice.pick(&["min", "max"]), column.sql)
            }
            _ if kind == Kind::Int => "count(*)".to_owned(),
            _ => format!("max({})", self.expression(kind, inner, 1)),
        };
        let filter = match equal {
            Some(equal) if self.dice.chance(30) => format!(" WHERE {equal} AND {}", self.condition(inner, 1)),
            Some(equal) => format!(" WHERE {equal}"),
            None if self.dice.chance(50) => format!(" WHERE {}", self.condition(inner, 1)),
            None => String::new(),
        };
        format!("(SELECT {value} FROM {from}{filter})")
    }

    pub(super) fn having(&mut self, columns: &[Column]) -> String {
        match self.probe_number(columns) {
            Some(number) if self.dice.chance(40) => format!("min({number}) >= -100"),
            _ if self.dice.chance(25) => {
                let (from, inner) = self.inner("hav");
                format!("count(*) <= {}", self.scalar_over(Kind::Int, &from, &inner, None))
            }
            _ => format!("count(*) > {}", self.dice.below(3)),
        }
    }

    /// A subquery in FROM that speaks of what stands before it, and its columns.
    pub(super) fn lateral(&mut self, columns: &mut [Column]) -> Option<(String, Vec<Column>, usize)> {
        let alias = self.name("lat");
        let table = self.table();
        let inside = self.name("t");
        let mut inner: Vec<Column> = table.columns.into_iter().map(|c| c.of(&inside)).collect();
        let equal = self.correlation(columns, &mut inner)?;
        let picked = self.dice.some(&inner, 30);
        let kinds: Vec<Kind> = picked.iter().map(|c| c.kind).collect();
        let list: Vec<String> = picked.iter().enumerate().map(|(i, c)| format!("{} AS c{i}", c.sql)).collect();
        let sql =
            format!("LATERAL (SELECT {} FROM {} AS {inside} WHERE {equal}) AS {alias}", list.join(", "), table.name);
        let column = |(i, kind): (usize, &Kind)| Column::computed(format!("c{i}"), *kind).of(&alias);
        Some((sql, kinds.iter().enumerate().map(column).collect(), table.rows_max))
    }
}
