//! Queries over what a principal sees. Their answer depends on nothing but the rows: whatever has an order or a
//! limit has it over all its columns.

mod expression;
mod functions;
mod kinds;
mod relation;
mod shapes;
mod subquery;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{DataSource, DataType, SourceId, TypeClass};

use super::{CANARY, Sizes, World};
use crate::cell::{Cell, Row};
use crate::dice::Dice;

pub use functions::{called, names_of_calls};
pub use kinds::KINDS_OF_QUERIES;

/// A query, and what may be expected of it.
#[derive(Clone, Debug)]
pub struct Query {
    pub sql: String,
    /// The order of the rows is part of the answer.
    pub ordered: bool,
    /// It may fail on rows and values that the principal sees. Others fail only on what she does not see.
    pub may_fail: bool,
    /// Its types may not fit, so that nobody can say when and as what it is refused, only that it is.
    pub may_be_refused: bool,
}

/// Types that expressions treat alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Int,
    Float,
    Decimal,
    Text,
    Date,
    Timestamp,
}

const KINDS: [Kind; 7] =
    [Kind::Boolean, Kind::Int, Kind::Float, Kind::Decimal, Kind::Text, Kind::Date, Kind::Timestamp];

/// A column that a query can name.
#[derive(Clone, Debug)]
struct Column {
    /// With [`HERE`] where the name of its table goes, until that is known.
    sql: String,
    /// Its own name, where it is all of a column of a table.
    name: Option<String>,
    kind: Kind,
    /// SQL literals of values that are seen in it; for comparisons that sometimes hold.
    literals: Vec<String>,
    /// A number that no visible row has in it, and hidden ones may have.
    absent: Option<i64>,
    /// Every visible text in it reads as a number.
    digits: bool,
}

/// Where the name of a table goes.
const HERE: char = '\u{1}';

/// All of a column with values inside of its values.
#[derive(Clone, Debug)]
struct Whole {
    sql: String,
    data_type: DataType,
}

/// A data source as a principal sees it.
#[derive(Clone, Debug)]
pub struct Readable {
    name: String,
    columns: Vec<Column>,
    nested: Vec<Whole>,
    /// More rows it cannot have.
    rows_max: usize,
}

impl Readable {
    fn new(source: &DataSource, visible: &[Row], original: &[Row]) -> Self {
        let column = |place: Reach| {
            let seen = || visible.iter().filter_map(|row| place.value(row)).filter(|cell| !cell.is_null());
            let mut literals: Vec<String> = seen().filter_map(|cell| sql_literal(&cell)).collect();
            literals.sort();
            literals.dedup();
            literals.truncate(6);
            let is_seen = |n: i64| seen().any(|cell| is_number(&cell, n));
            let wanted: BTreeSet<i64> =
                original.iter().filter_map(|row| whole(&place.value(row)?)).chain([100, 100_000]).collect();
            let kind = place.kind;
            let number = matches!(kind, Kind::Int | Kind::Float | Kind::Decimal);
            let digits =
                kind == Kind::Text && seen().all(|cell| matches!(cell, Cell::Text(t) if t.parse::<i32>().is_ok()));
            let absent = if number { wanted.into_iter().rev().find(|n| !is_seen(*n)) } else { None };
            let name = place.steps.is_empty().then(|| place.sql.replace(HERE, ""));
            Column { sql: place.sql, name, kind, literals, absent, digits }
        };
        let places = source.columns.iter().enumerate().flat_map(|(i, c)| reach(i, c));
        let name = format!("{}.{}", quoted(source.name.schema()), quoted(source.name.table()));
        let whole = |c: &weir_model::Column| Whole {
            sql: format!("{HERE}{}", quoted(c.name.as_str())),
            data_type: c.data_type.clone(),
        };
        let nested = source.columns.iter().filter(|c| c.data_type.class() == TypeClass::Nested).map(whole).collect();
        Self { name, columns: places.map(column).collect(), nested, rows_max: visible.len() }
    }
}

/// A plain value that a query can get at, in a column or inside of one.
struct Reach {
    sql: String,
    kind: Kind,
    column: usize,
    /// From the column inwards.
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Field(usize),
    /// From 0 on.
    Element(usize),
    Length,
}

impl Reach {
    fn value(&self, row: &Row) -> Option<Cell> {
        let mut value = row[self.column].clone();
        for step in &self.steps {
            value = match (step, value) {
                (_, Cell::Null) => return None,
                (Step::Field(n), Cell::Struct(cells)) => cells[*n].clone(),
                (Step::Element(n), Cell::List(cells)) => cells.get(*n)?.clone(),
                (Step::Length, Cell::List(cells)) => Cell::Int(i64::try_from(cells.len()).ok()?),
                (_, other) => panic!("there is nothing in {other}"),
            };
        }
        Some(value)
    }
}

fn reach(column: usize, of: &weir_model::Column) -> Vec<Reach> {
    let mut found = Vec::new();
    let mut open = vec![(format!("{HERE}{}", quoted(of.name.as_str())), Vec::new(), &of.data_type)];
    while let Some((sql, steps, data_type)) = open.pop() {
        let further = |step| [steps.as_slice(), &[step]].concat();
        match data_type {
            DataType::Struct(fields) => {
                for (n, field) in fields.iter().enumerate() {
                    open.push((format!("{sql}['{}']", field.name), further(Step::Field(n)), &field.data_type));
                }
            }
            DataType::List(item) => {
                open.push((format!("{sql}[1]"), further(Step::Element(0)), item));
                let (sql, steps) = (format!("CAST(array_length({sql}) AS INT)"), further(Step::Length));
                found.push(Reach { sql, kind: Kind::Int, column, steps });
            }
            _ => found.push(Reach { sql, kind: Kind::of(data_type), column, steps }),
        }
    }
    found.reverse();
    found
}

/// Queries over the sources in `visible`, which is what the principal sees of the world; none when that is nothing.
/// `further` are calls as in `functions.txt`, whose types may not fit.
pub fn queries(
    world: &World,
    visible: &BTreeMap<SourceId, Vec<Row>>,
    dice: &mut Dice,
    sizes: &Sizes,
    further: &[String],
    count: usize,
) -> Vec<Query> {
    let readable: Vec<Readable> = world
        .facts
        .sources
        .iter()
        .filter_map(|s| Some(Readable::new(s, visible.get(&s.id)?, &world.tables[&s.id])))
        .collect();
    if readable.is_empty() {
        return Vec::new();
    }
    let mut asker = || Asker { dice, readable: &readable, sizes, further, names: 0, ctes: Vec::new() }.query();
    (0..count).map(|_| asker()).collect()
}

struct Asker<'a> {
    dice: &'a mut Dice,
    readable: &'a [Readable],
    sizes: &'a Sizes,
    further: &'a [String],
    names: usize,
    ctes: Vec<Readable>,
}

impl Asker<'_> {
    fn query(mut self) -> Query {
        let common = self.sizes.common_dialect;
        match self.dice.below(100) {
            0..6 => return self.failing(),
            _ if common => {}
            6..24 => return self.calls(),
            24..28 if !self.further.is_empty() && self.readable.iter().any(|t| t.rows_max > 0) => {
                return self.further_call();
            }
            _ => {}
        }
        let mut with = Vec::new();
        let recursive = self.dice.chance(4);
        if recursive {
            with.push(self.recursive());
        }
        while self.dice.chance(20) && with.len() < 2 {
            let body = self.select(1, None);
            let name = self.name("w");
            with.push(format!("{name} AS ({})", body.sql));
            self.ctes.push(Readable { name, columns: body.columns, nested: Vec::new(), rows_max: body.rows_max });
        }
        let depth = self.sizes.query_depth_max;
        let body = match self.dice.below(100) {
            0..15 => self.set_operation(depth),
            15..19 => self.distinct_on(),
            19..23 if !common => self.unnested(),
            _ => self.select(depth, None),
        };
        let word = if recursive { "WITH RECURSIVE" } else { "WITH" };
        let mut sql = if with.is_empty() { body.sql } else { format!("{word} {} {}", with.join(", "), body.sql) };
        let ordered = self.dice.chance(35);
        if ordered {
            sql.push_str(&self.total_order(body.columns.len()));
        }
        Query { sql, ordered, may_fail: false, may_be_refused: false }
    }

    /// An expression that fails on some visible values, perhaps, where every engine computes it for every row.
    fn failing(&mut self) -> Query {
        let table = self.dice.pick(self.readable).clone();
        let column = self.dice.pick(&table.columns).clone().of("t1");
        let expression = match column.kind {
            Kind::Text => format!("CAST({} AS INT)", column.sql),
            Kind::Int | Kind::Decimal => {
                let zero = self.dice.pick(&["0", "1", "2", "100"]);
                format!("10 / ({} - {zero})", column.sql)
            }
            Kind::Boolean | Kind::Float | Kind::Date | Kind::Timestamp => column.sql.clone(),
        };
        let aggregate = self.dice.chance(30);
        let expression = if aggregate { format!("max({expression})") } else { expression };
        let sql = format!("SELECT {expression} AS c0 FROM {} AS t1", table.name);
        Query { sql, ordered: false, may_fail: true, may_be_refused: false }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn total_order(&mut self, columns: usize) -> String {
        let mut order = Vec::new();
        for i in 1..=columns {
            order.push(format!("{i}{}", self.dice.pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])));
        }
        let mut clause = format!(" ORDER BY {}", order.join(", "));
        if self.dice.chance(60) {
            clause.push_str(&format!(" LIMIT {}", self.dice.below(8)));
            if self.dice.chance(30) {
                clause.push_str(&format!(" OFFSET {}", self.dice.below(5)));
            }
        }
        clause
    }
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Kind::Boolean,
            DataType::Int32 | DataType::Int64 => Kind::Int,
            DataType::Float64 => Kind::Float,
            DataType::Decimal { .. } => Kind::Decimal,
            DataType::Text => Kind::Text,
            DataType::Date => Kind::Date,
            DataType::Timestamp { .. } => Kind::Timestamp,
            other => panic!("no columns of type {other} are made"),
        }
    }

    fn literal(self) -> &'static str {
        match self {
            Kind::Boolean => "TRUE",
            Kind::Int => "1",
            Kind::Float => "0.5",
            Kind::Decimal => "0.25",
            Kind::Text => "'A'",
            Kind::Date => "DATE '1970-01-08'",
            Kind::Timestamp => "TIMESTAMP '2024-01-01 00:00:00'",
        }
    }
}

fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && name != "user";
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// `None` for what must not be said in a query: a canary in an error text would prove nothing then.
fn sql_literal(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) if text.contains(CANARY) => None,
        Cell::Float(n) if n.fract() == 0.0 => Some(format!("{n:.1}")),
        Cell::List(_) | Cell::Struct(_) => None,
        _ => Some(super::predicate::literal(cell).to_string()),
    }
}

fn whole(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(n) => Some(*n),
        Cell::Decimal { unscaled, scale } => i64::try_from(unscaled / 10_i128.pow(*scale)).ok(),
        Cell::Float(n) if n.abs() < 1e9 => format!("{n:.0}").parse().ok(),
        _ => None,
    }
}

fn is_number(cell: &Cell, n: i64) -> bool {
    match cell {
        Cell::Int(m) => *m == n,
        Cell::Decimal { unscaled, scale } => *unscaled == i128::from(n) * 10_i128.pow(*scale),
        Cell::Float(m) => *m == n as f64,
        _ => false,
    }
}
