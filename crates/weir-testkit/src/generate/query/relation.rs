//! SELECT, FROM and what combines them.

use super::{Asker, Column, KINDS, Kind};

/// A query without an order, and its columns by their names.
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    /// More rows it cannot have.
    pub(super) rows_max: usize,
}

/// What stands after FROM.
struct Relation {
    sql: String,
    columns: Vec<Column>,
    rows_max: usize,
}

/// A join that could give more rows than this is left out.
const JOINED_ROWS_MAX: usize = 250_000;

impl Asker<'_> {
    pub(super) fn set_operation(&mut self, depth: usize) -> Select {
        let left = self.select(depth, None);
        let kinds: Vec<Kind> = left.columns.iter().map(|c| c.kind).collect();
        let right = self.select(depth, Some(&kinds));
        let word = self.dice.pick(&["UNION ALL", "UNION", "EXCEPT", "INTERSECT"]);
        let columns = left.columns.into_iter().map(Column::unknown).collect();
        let rows_max = left.rows_max + right.rows_max;
        Select { sql: format!("{} {word} {}", left.sql, right.sql), columns, rows_max }
    }

    /// One SELECT; with `kinds`, of columns of these kinds.
    pub(super) fn select(&mut self, depth: usize, kinds: Option<&[Kind]>) -> Select {
        let mut from = self.relation(depth);
        let filter = if self.dice.chance(55) {
            format!(" WHERE {}", self.filter(&mut from.columns, depth))
        } else {
            String::new()
        };
        let kinds = kinds.map_or_else(|| self.kinds(&from.columns), <[Kind]>::to_vec);
        if self.dice.chance(25) {
            return self.grouped(&from, &filter, &kinds);
        }
        let mut list = Vec::new();
        for kind in kinds {
            let column = match self.column_of(kind, &from.columns) {
                // Plain columns stay known to the queries around this one.
                Some(column) if self.dice.chance(60) => column,
                _ if kind == Kind::Int && self.dice.chance(15) => Column::computed(self.window(&from.columns), kind),
                _ => Column::computed(self.varying(kind, &from.columns, self.sizes.expression_depth_max), kind),
            };
            list.push(column);
        }
        let distinct = if self.dice.chance(12) { "DISTINCT " } else { "" };
        let (sql, columns) = named(list);
        let rows_max = from.rows_max;
        Select { sql: format!("SELECT {distinct}{sql} FROM {}{filter}", from.sql), columns, rows_max }
    }

    /// An expression over a column, if that can be had: the engine sorts constants wrongly above an outer join.
    fn varying(&mut self, kind: Kind, columns: &[Column], depth: usize) -> String {
        for _ in 0..4 {
            let expression = self.expression(kind, columns, depth);
            if columns.iter().any(|c| expression.contains(&c.sql)) {
                return expression;
            }
        }
        self.column_of(kind, columns).map_or_else(|| self.expression(kind, columns, depth), |c| c.sql)
    }

    fn kinds(&mut self, columns: &[Column]) -> Vec<Kind> {
        let one = |asker: &mut Self| {
            if asker.dice.chance(75) { asker.dice.pick(columns).kind } else { *asker.dice.pick(&KINDS) }
        };
        (0..self.dice.between(1, 4)).map(|_| one(self)).collect()
    }

    fn grouped(&mut self, from: &Relation, filter: &str, kinds: &[Kind]) -> Select {
        let (mut list, mut keys) = (Vec::new(), Vec::new());
        for kind in kinds {
            let sql = if self.dice.chance(45) {
                let key = self.column_of(*kind, &from.columns).map(|c| c.sql);
                let key = key.filter(|_| self.dice.chance(70)).unwrap_or_else(|| self.varying(*kind, &from.columns, 1));
                keys.push(key.clone());
                key
            } else {
                self.aggregate(*kind, &from.columns)
            };
            list.push(Column::computed(sql, *kind));
        }
        let (sql, columns) = named(list);
        let mut sql = format!("SELECT {sql} FROM {}{filter}", from.sql);
        if !keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        if self.dice.chance(30) {
            sql.push_str(&format!(" HAVING {}", self.having(&from.columns)));
        }
        Select { sql, columns, rows_max: from.rows_max.max(1) }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        let mut relation = self.item(depth);
        let joins = *self.dice.pick(&[0, 0, 0, 0, 1, 1, 1, 2]);
        for _ in 0..joins {
            let item = self.item(depth.saturating_sub(1));
            // With one more row on each side for those of an outer join.
            if (relation.rows_max + 1).saturating_mul(item.rows_max + 1) <= JOINED_ROWS_MAX {
                relation = self.join(relation, item);
            }
        }
        relation
    }

    fn join(&mut self, left: Relation, right: Relation) -> Relation {
        let pairs: Vec<(&Column, &Column)> = left
            .columns
            .iter()
            .flat_map(|l| right.columns.iter().map(move |r| (l, r)))
            .filter(|(l, r)| l.kind == r.kind && l.kind != Kind::Boolean)
            .collect();
        let mut columns: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
        let rows_max = (left.rows_max + 1) * (right.rows_max + 1);
        if pairs.is_empty() {
            return Relation { sql: format!("{} CROSS JOIN {}", left.sql, right.sql), columns, rows_max };
        }
        let (l, r) = *self.dice.pick(&pairs);
        let mut on = format!("{} = {}", l.sql, r.sql);
        forget(&mut columns, &l.sql);
        forget(&mut columns, &r.sql);
        let word = *self.dice.pick(&["JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        if self.dice.chance(30) {
            // A column that equals a literal is a constant; see `varying`.
            let more = if word == "JOIN" { Some(self.condition(&columns, 1)) } else { self.probe(&columns) };
            on.extend(more.map(|more| format!(" AND {more}")));
        }
        Relation { sql: format!("{} {word} {} ON {on}", left.sql, right.sql), columns, rows_max }
    }

    /// A table, a common table expression or a sub-query, under a name of its own.
    fn item(&mut self, depth: usize) -> Relation {
        let alias = self.name("t");
        let (sql, columns, rows_max) = if depth > 0 && self.dice.chance(20) {
            let select = self.select(depth - 1, None);
            let order = if self.dice.chance(30) { self.total_order(select.columns.len()) } else { String::new() };
            (format!("({}{order})", select.sql), select.columns, select.rows_max)
        } else {
            let table = self.table();
            (table.name, table.columns, table.rows_max)
        };
        let columns = columns.into_iter().map(|c| c.of(&alias)).collect();
        Relation { sql: format!("{sql} AS {alias}"), columns, rows_max }
    }

    pub(super) fn table(&mut self) -> super::Readable {
        if !self.ctes.is_empty() && self.dice.chance(50) {
            self.dice.pick(&self.ctes).clone()
        } else {
            self.dice.pick(self.readable).clone()
        }
    }
}

impl Column {
    pub(super) fn computed(sql: String, kind: Kind) -> Self {
        Self { sql, kind, literals: Vec::new(), absent: None, digits: false }
    }

    /// The same column after it was mixed with others.
    fn unknown(self) -> Self {
        Self::computed(self.sql, self.kind)
    }

    pub(super) fn of(self, alias: &str) -> Self {
        Self { sql: format!("{alias}.{}", self.sql), ..self }
    }
}

/// The engine asks of a column whatever is asked of one that equals it, so that neither may be tried any more.
pub(super) fn forget(columns: &mut [Column], equal: &str) {
    for column in columns.iter_mut().filter(|c| c.sql == equal) {
        (column.absent, column.digits) = (None, false);
    }
}

/// A SELECT list with a name for each column.
fn named(list: Vec<Column>) -> (String, Vec<Column>) {
    let sql: Vec<String> = list.iter().enumerate().map(|(i, c)| format!("{} AS c{i}", c.sql)).collect();
    let columns = list.into_iter().enumerate().map(|(i, c)| Column { sql: format!("c{i}"), ..c }).collect();
    (sql.join(", "), columns)
}
