//! Queries of shapes of their own: recursive ones, the first row of each, and lists taken apart.

use std::collections::BTreeSet;

use super::relation::{Select, forget, named};
use super::{Asker, Column, Kind, Readable};
use weir_model::DataType;

/// More rows the first part of a recursive query with a join does not have.
const RECURSIVE_ROWS_MAX: usize = 24;

impl Asker<'_> {
    /// A recursive common table expression, which can be read from then on.
    pub(super) fn recursive(&mut self) -> String {
        let name = self.name("r");
        let table = self.dice.pick(self.readable).clone();
        let alias = self.name("t");
        let mut columns: Vec<Column> = table.columns.iter().cloned().map(|c| c.of(&alias)).collect();
        let start = self.expression(Kind::Int, &columns, 1);
        forget(&mut columns, &start);
        let filter = self.condition(&columns, 1);
        let first = format!(
            "SELECT CAST(1 AS BIGINT) AS n, CAST({start} AS BIGINT) AS v FROM {} AS {alias} WHERE {filter}",
            table.name
        );
        let next = self.name("t");
        let other = table.columns.iter().find(|c| c.kind == Kind::Int).map(|c| c.clone().of(&next).sql);
        let (word, second, rows_max) = match (self.dice.below(3), other) {
            (0, _) => {
                let second = format!("SELECT {name}.n % 3 + 1, ({name}.v + 1) % 7 FROM {name}");
                ("UNION", second, table.rows_max + 60)
            }
            (1, Some(other)) if table.rows_max <= RECURSIVE_ROWS_MAX => {
                let join = format!("INNER JOIN {} AS {next} ON {other} = {name}.v", table.name);
                let second =
                    format!("SELECT {name}.n + 1, CAST({other} + 1 AS BIGINT) FROM {name} {join} WHERE {name}.n < 3");
                ("UNION ALL", second, table.rows_max.pow(3))
            }
            _ => {
                let second = format!("SELECT {name}.n + 1, {name}.v * 2 FROM {name} WHERE {name}.n < 4");
                ("UNION ALL", second, 4 * table.rows_max)
            }
        };
        let columns = vec![Column::computed("n".to_owned(), Kind::Int), Column::computed("v".to_owned(), Kind::Int)];
        self.ctes.push(Readable { name: name.clone(), columns, nested: Vec::new(), rows_max });
        format!("{name} AS ({first} {word} {second})")
    }

    /// The first row for each value, in an order that leaves no choice.
    pub(super) fn distinct_on(&mut self) -> Select {
        let from = self.relation(1);
        let key = self.dice.pick(&from.columns).sql.clone();
        // The engine panics at an order in which something is twice.
        let all: BTreeSet<&str> = from.columns.iter().map(|c| c.sql.as_str()).filter(|sql| *sql != key).collect();
        let all: Vec<&str> = all.into_iter().collect();
        let desc = self.dice.pick(&["", " DESC", " NULLS FIRST"]);
        let filter =
            if self.dice.chance(40) { format!(" WHERE {}", self.condition(&from.columns, 1)) } else { String::new() };
        let (list, columns) = named(self.dice.some(&from.columns, 40));
        let order = [&[format!("{key}{desc}").as_str()], all.as_slice()].concat().join(", ");
        let sql = format!("SELECT DISTINCT ON ({key}) {list} FROM {}{filter} ORDER BY {order}", from.sql);
        let alias = self.name("don");
        let columns = columns.into_iter().map(|c| Column::computed(c.sql, c.kind)).collect();
        Select { sql: format!("SELECT * FROM ({sql}) AS {alias}"), columns, rows_max: from.rows_max }
    }

    /// Elements of lists as rows, and sometimes how often there is each.
    pub(super) fn unnested(&mut self) -> Select {
        let table = self.dice.pick(self.readable).clone();
        let alias = self.name("t");
        let columns: Vec<Column> = table.columns.iter().cloned().map(|c| c.of(&alias)).collect();
        let lists: Vec<(String, DataType)> = table
            .nested
            .iter()
            .filter_map(|whole| match &whole.data_type {
                DataType::List(item) => Some((whole.clone().of(&alias).sql, item.as_ref().clone())),
                _ => None,
            })
            .collect();
        let (list, kind) = if lists.is_empty() {
            (format!("make_array({}, 7)", self.expression(Kind::Int, &columns, 1)), Some(Kind::Int))
        } else {
            let (sql, item) = self.dice.pick(&lists).clone();
            (sql, (item.class() != weir_model::TypeClass::Nested).then(|| Kind::of(&item)))
        };
        let filter =
            if self.dice.chance(40) { format!(" WHERE {}", self.condition(&columns, 1)) } else { String::new() };
        let beside = self.dice.pick(&columns).clone();
        let rows_max = table.rows_max * 4;
        let sql = format!("SELECT {} AS c0, unnest({list}) AS c1 FROM {} AS {alias}{filter}", beside.sql, table.name);
        let of = |name: &str, kind| Column::computed(name.to_owned(), kind);
        let outer = self.name("t");
        let Some(kind) = kind else {
            // No order over structs is asked for.
            let sql = format!("SELECT {outer}.c0 AS c0, {outer}.c1 IS NULL AS c1 FROM ({sql}) AS {outer}");
            return Select { sql, columns: vec![of("c0", beside.kind), of("c1", Kind::Boolean)], rows_max };
        };
        let (sql, columns) = match self.dice.below(3) {
            0 => (sql, vec![of("c0", beside.kind), of("c1", kind)]),
            1 => {
                let sql =
                    format!("SELECT {outer}.c1 AS c0, count(*) AS c1 FROM ({sql}) AS {outer} GROUP BY {outer}.c1");
                (sql, vec![of("c0", kind), of("c1", Kind::Int)])
            }
            _ => {
                let sql = format!("SELECT {outer}.c0 AS c0, {outer}.c1 AS c1 FROM ({sql}) AS {outer}");
                (sql, vec![of("c0", beside.kind), of("c1", kind)])
            }
        };
        Select { sql, columns, rows_max }
    }
}
