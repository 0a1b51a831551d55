//! SELECT, FROM and what combines them.

use super::{Asker, Column, HERE, KINDS, Kind, Whole};

/// A query without an order, and its columns by their names.
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    /// More rows it cannot have.
    pub(super) rows_max: usize,
}

/// What stands after FROM.
pub(super) struct Relation {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    pub(super) nested: Vec<Whole>,
    pub(super) rows_max: usize,
}

/// A join that could give more rows than this is left out.
const JOINED_ROWS_MAX: usize = 250_000;

impl Asker<'_> {
    pub(super) fn set_operation(&mut self, depth: usize) -> Select {
        let left = self.select(depth, None);
        let kinds: Vec<Kind> = left.columns.iter().map(|c| c.kind).collect();
        let right = self.select(depth, Some(&kinds));
        let word =
            self.dice.pick(&["UNION ALL", "UNION", "UNION", "EXCEPT", "EXCEPT ALL", "INTERSECT", "INTERSECT ALL"]);
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
                _ if self.dice.chance(8) => Column::computed(self.scalar(kind, "sel", &mut from.columns), kind),
                _ => {
                    let window = if self.dice.chance(18) { self.window(kind, &from.columns) } else { None };
                    let depth = self.sizes.expression_depth_max;
                    Column::computed(window.unwrap_or_else(|| self.varying(kind, &from.columns, depth)), kind)
                }
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
            sql.push_str(&format!(" GROUP BY {}", self.grouping(&keys, &from.columns)));
        }
        if self.dice.chance(30) {
            sql.push_str(&format!(" HAVING {}", self.having(&from.columns)));
        }
        Select { sql, columns, rows_max: from.rows_max.max(1) * (1 << keys.len()) }
    }

    fn grouping(&mut self, keys: &[String], columns: &[Column]) -> String {
        let all = keys.join(", ");
        // The engine does not sort by what is a constant, which it is not in all of several groupings.
        let constant = |key: &String| !columns.iter().any(|c| key.contains(&c.sql));
        let twice = keys.iter().enumerate().any(|(i, key)| keys[..i].contains(key));
        if twice || keys.iter().any(constant) || self.dice.chance(65) {
            return all;
        }
        match self.dice.below(3) {
            0 => format!("ROLLUP ({all})"),
            1 => format!("CUBE ({all})"),
            _ => {
                let each: Vec<String> = keys.iter().map(|key| format!("({key})")).collect();
                format!("GROUPING SETS ({}, ({all}), ())", each.join(", "))
            }
        }
    }

    pub(super) fn relation(&mut self, depth: usize) -> Relation {
        let mut relation = self.item(depth);
        let joins = *self.dice.pick(&[0, 0, 0, 0, 1, 1, 1, 2]);
        for _ in 0..joins {
            if self.dice.chance(8) {
                relation = self.with_lateral(relation);
                continue;
            }
            let item = self.item(depth.saturating_sub(1));
            // With one more row on each side for those of an outer join.
            if (relation.rows_max + 1).saturating_mul(item.rows_max + 1) <= JOINED_ROWS_MAX {
                relation = self.join(relation, item);
            }
        }
        relation
    }

    fn with_lateral(&mut self, mut left: Relation) -> Relation {
        let Some((lateral, columns, rows)) = self.lateral(&mut left.columns) else { return left };
        let rows_max = (left.rows_max + 1).saturating_mul(rows + 1);
        if rows_max > JOINED_ROWS_MAX {
            return left;
        }
        let join =
            if self.dice.chance(60) { format!("CROSS JOIN {lateral}") } else { format!("LEFT JOIN {lateral} ON TRUE") };
        left.columns.extend(columns);
        Relation { sql: format!("{} {join}", left.sql), rows_max, ..left }
    }

    fn join(&mut self, left: Relation, right: Relation) -> Relation {
        let pairs: Vec<(&Column, &Column)> = left
            .columns
            .iter()
            .flat_map(|l| right.columns.iter().map(move |r| (l, r)))
            .filter(|(l, r)| l.kind == r.kind && l.kind != Kind::Boolean)
            .collect();
        let mut columns: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
        let nested = left.nested.iter().chain(&right.nested).cloned().collect();
        let rows_max = (left.rows_max + 1) * (right.rows_max + 1);
        if pairs.is_empty() || self.dice.chance(5) {
            return Relation { sql: format!("{} CROSS JOIN {}", left.sql, right.sql), columns, nested, rows_max };
        }
        if self.dice.chance(15)
            && let Some(common) = common(&left, &right)
        {
            for column in columns.iter_mut().filter(|c| c.name.as_ref().is_some_and(|name| common.contains(name))) {
                (column.absent, column.digits) = (None, false);
            }
            let word = *self.dice.pick(&["INNER", "LEFT", "RIGHT", "FULL"]);
            let sql = if self.dice.chance(50) {
                format!("{} NATURAL {word} JOIN {}", left.sql, right.sql)
            } else {
                format!("{} {word} JOIN {} USING ({})", left.sql, right.sql, common.join(", "))
            };
            return Relation { sql, columns, nested, rows_max };
        }
        let (l, r) = *self.dice.pick(&pairs);
        let mut on = format!("{} = {}", l.sql, r.sql);
        forget(&mut columns, &l.sql);
        forget(&mut columns, &r.sql);
        let joins = if self.sizes.common_dialect { &JOINS[..COMMON_JOINS] } else { &JOINS[..] };
        let word = *self.dice.pick(joins);
        // The engine asks more than it is told of rows that have nothing to be joined with.
        let keeps_both = !word.contains("SEMI") && !word.contains("ANTI");
        if keeps_both && self.dice.chance(30) {
            // A column that equals a literal is a constant; see `varying`.
            let more = if word == "INNER JOIN" { Some(self.condition(&columns, 1)) } else { self.probe(&columns) };
            on.extend(more.map(|more| format!(" AND {more}")));
        }
        let sql = format!("{} {word} {} ON {on}", left.sql, right.sql);
        // Of one side only what stays is there afterwards.
        let (places, nested, rows_max) = match word.split(' ').take(2).collect::<Vec<_>>().as_slice() {
            ["LEFT", "SEMI" | "ANTI"] => (0..left.columns.len(), left.nested, left.rows_max),
            ["RIGHT", "SEMI" | "ANTI"] => (left.columns.len()..columns.len(), right.nested, right.rows_max),
            _ => (0..columns.len(), nested, rows_max),
        };
        Relation { sql, columns: columns[places].to_vec(), nested, rows_max }
    }

    /// A table, a common table expression or a sub-query, under a name of its own.
    fn item(&mut self, depth: usize) -> Relation {
        let alias = self.name("t");
        if self.dice.chance(5) {
            return self.made(&alias);
        }
        let (sql, columns, nested, rows_max) = if depth > 0 && self.dice.chance(20) {
            let select = self.select(depth - 1, None);
            let order = if self.dice.chance(30) { self.total_order(select.columns.len()) } else { String::new() };
            (format!("({}{order})", select.sql), select.columns, Vec::new(), select.rows_max)
        } else {
            let table = self.table();
            (table.name, table.columns, table.nested, table.rows_max)
        };
        let columns = columns.into_iter().map(|c| c.of(&alias)).collect();
        let nested = nested.into_iter().map(|whole| whole.of(&alias)).collect();
        Relation { sql: format!("{sql} AS {alias}"), columns, nested, rows_max }
    }

    /// Rows that are in no table.
    fn made(&mut self, alias: &str) -> Relation {
        let column = |name: &str, kind| Column::computed(name.to_owned(), kind).of(alias);
        let (sql, columns) = if self.dice.chance(50) {
            let sql = format!("(VALUES (1, 'A'), (2, 'b'), (CAST(NULL AS BIGINT), '1')) AS {alias}(n, s)");
            (sql, vec![column("n", Kind::Int), column("s", Kind::Text)])
        } else {
            (format!("generate_series(1, {}) AS {alias}(n)", self.dice.between(2, 5)), vec![column("n", Kind::Int)])
        };
        Relation { sql, columns, nested: Vec::new(), rows_max: 5 }
    }

    pub(super) fn table(&mut self) -> super::Readable {
        if !self.ctes.is_empty() && self.dice.chance(50) {
            self.dice.pick(&self.ctes).clone()
        } else {
            self.dice.pick(self.readable).clone()
        }
    }
}

const JOINS: [&str; 12] = [
    "INNER JOIN",
    "INNER JOIN",
    "INNER JOIN",
    "LEFT JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "LEFT SEMI JOIN",
    "LEFT ANTI JOIN",
    "RIGHT SEMI JOIN",
    "RIGHT ANTI JOIN",
];

/// So many of them every system knows.
const COMMON_JOINS: usize = 8;

/// The names that columns of both sides have, when each is that of one plain column a side, of the same kind.
fn common(left: &Relation, right: &Relation) -> Option<Vec<String>> {
    let named = |relation: &Relation, name: &String| -> Vec<Kind> {
        relation.columns.iter().filter(|c| c.name.as_ref() == Some(name)).map(|c| c.kind).collect()
    };
    let is_nested = |relation: &Relation, name: &str| relation.nested.iter().any(|whole| whole.sql.ends_with(name));
    let mut names: Vec<String> = left.columns.iter().filter_map(|c| c.name.clone()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| !named(right, name).is_empty());
    let alike = |name: &String| match (named(left, name).as_slice(), named(right, name).as_slice()) {
        ([l], [r]) => l == r && !is_nested(left, name) && !is_nested(right, name),
        _ => false,
    };
    let both_nested = left.nested.iter().any(|l| {
        let name = l.sql.rsplit('.').next().unwrap_or_default();
        is_nested(right, name)
    });
    (!names.is_empty() && !both_nested && names.iter().all(alike)).then_some(names)
}

impl Column {
    pub(super) fn computed(sql: String, kind: Kind) -> Self {
        Self { sql, name: None, kind, literals: Vec::new(), absent: None, digits: false }
    }

    /// The same column after it was mixed with others.
    fn unknown(self) -> Self {
        Self::computed(self.sql, self.kind)
    }

    pub(super) fn of(self, alias: &str) -> Self {
        Self { sql: qualified(&self.sql, alias), ..self }
    }
}

impl Whole {
    pub(super) fn of(self, alias: &str) -> Self {
        Self { sql: qualified(&self.sql, alias), ..self }
    }
}

fn qualified(sql: &str, alias: &str) -> String {
    if sql.contains(HERE) { sql.replace(HERE, &format!("{alias}.")) } else { format!("{alias}.{sql}") }
}

/// The engine asks of a column whatever is asked of one that equals it, so that neither may be tried any more.
pub(super) fn forget(columns: &mut [Column], equal: &str) {
    for column in columns.iter_mut().filter(|c| c.sql == equal) {
        (column.absent, column.digits) = (None, false);
    }
}

/// A SELECT list with a name for each column.
pub(super) fn named(list: Vec<Column>) -> (String, Vec<Column>) {
    let sql: Vec<String> = list.iter().enumerate().map(|(i, c)| format!("{} AS c{i}", c.sql)).collect();
    let renamed = |(i, c): (usize, Column)| Column { sql: format!("c{i}"), name: Some(format!("c{i}")), ..c };
    let columns = list.into_iter().enumerate().map(renamed).collect();
    (sql.join(", "), columns)
}
