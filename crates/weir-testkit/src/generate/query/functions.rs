//! Calls of the engine's functions, as `functions.txt` and `aggregates.txt` list them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use weir_model::DataType;

use super::relation::Relation;
use super::{Asker, Column, Kind, Query, Readable, Whole};

/// One line of the lists.
struct Call {
    /// `None` when it is of a type that queries do nothing further with.
    kind: Option<Kind>,
    /// It fails on no value.
    sure: bool,
    /// It can stand in any expression.
    everywhere: bool,
    /// Names of the same function; none for an operator.
    names: Vec<&'static str>,
    /// All of it but the name.
    rest: &'static str,
}

static FUNCTIONS: LazyLock<Vec<Call>> = LazyLock::new(|| calls(include_str!("functions.txt")));
static AGGREGATES: LazyLock<Vec<Call>> = LazyLock::new(|| calls(include_str!("aggregates.txt")));

/// What text is looked for where it may say how something is done.
const WORDS: &str = "'day'|'hex'|'md5'|'%Y'|'Int32'|','|'a'|'0'|'1'|'2024-01-05'";

fn calls(text: &'static str) -> Vec<Call> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(call).collect()
}

fn call(line: &'static str) -> Call {
    let (kind, call) = line.split_once(' ').expect("a kind and a call");
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '/';
    let (names, rest) = call.split_at(call.find(|c| !is_name(c)).unwrap_or(call.len()));
    let (names, rest) = if rest.starts_with('(') { (names, rest) } else { ("", call) };
    Call {
        kind: match kind.trim_start_matches(['+', '?']) {
            "bool" => Some(Kind::Boolean),
            "int" => Some(Kind::Int),
            "float" => Some(Kind::Float),
            "dec" => Some(Kind::Decimal),
            "text" => Some(Kind::Text),
            "date" => Some(Kind::Date),
            "ts" => Some(Kind::Timestamp),
            "any" | "ints" | "texts" | "other" => None,
            other => panic!("`{other}` is no kind: {line}"),
        },
        sure: !kind.starts_with('?'),
        everywhere: kind.starts_with('+'),
        names: names.split('/').filter(|name| !name.is_empty()).collect(),
        rest,
    }
}

/// Every name that generated queries can call, and that is in one of the lists.
pub fn names_of_calls() -> BTreeSet<&'static str> {
    let listed = FUNCTIONS.iter().chain(AGGREGATES.iter()).flat_map(|call| call.names.iter().copied());
    listed.chain(super::window::CALLS).collect()
}

/// Names of functions, aggregates and windows that are called in a query, wherever.
pub fn called(sql: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (i, part) in sql.split('\'').enumerate() {
        // Every second part is a text.
        if i % 2 == 1 {
            continue;
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let mut before: Vec<&str> = part.split('(').collect();
        // Nothing is called behind the last parenthesis.
        before.pop();
        let names = before.into_iter().filter_map(|before| before.rsplit(|c| !is_name(c)).next());
        found.extend(names.filter(|name| !name.is_empty()));
    }
    found
}

impl Asker<'_> {
    /// A call that fails on nothing, if there is one of the kind.
    pub(super) fn everywhere(&mut self, kind: Kind, columns: &[Column]) -> Option<String> {
        let fit: Vec<&Call> = FUNCTIONS.iter().filter(|call| call.everywhere && call.kind == Some(kind)).collect();
        if fit.is_empty() {
            return None;
        }
        let call = *self.dice.pick(&fit);
        let sql = self.written(call, columns, &[], "1");
        // Of the widths of numbers that functions give, the widest.
        Some(if kind == Kind::Int { format!("CAST({sql} AS BIGINT)") } else { sql })
    }

    /// A query that is about functions.
    pub(super) fn calls(&mut self) -> Query {
        let query = |sql, unsure| Query { sql, ordered: false, may_fail: unsure, may_be_refused: unsure };
        match self.dice.below(10) {
            0..5 => {
                let mut from = self.relation(1);
                let filter = if self.dice.chance(30) {
                    format!(" WHERE {}", self.filter(&mut from.columns, 1))
                } else {
                    String::new()
                };
                let mut list: Vec<String> = (0..self.dice.between(4, 7)).map(|_| self.sure_call(&from)).collect();
                // Not DISTINCT: of lists that functions make, the engine at times takes equal ones for different ones.
                if self.dice.chance(10) {
                    list.reverse();
                }
                query(format!("SELECT {} FROM {}{filter}", numbered(&list), from.sql), false)
            }
            5 | 6 if self.readable.iter().any(|table| table.rows_max > 0) => {
                let from = self.whole_table();
                let unsure: Vec<&Call> = FUNCTIONS.iter().filter(|call| !call.sure).collect();
                let call = *self.dice.pick(&unsure);
                let call = self.written(call, &from.columns, &from.nested, "1");
                query(format!("SELECT {call} AS c0 FROM {}", from.sql), true)
            }
            _ => query(self.aggregates(), false),
        }
    }

    /// A call that may be refused, of which nothing is known but that its types might fit.
    pub(super) fn further_call(&mut self) -> Query {
        let from = self.whole_table();
        let call = self.dice.pick(self.further).clone();
        let call = self.filled(&call, &from.columns, &from.nested, "1");
        let sql = format!("SELECT {call} AS c0 FROM {}", from.sql);
        Query { sql, ordered: false, may_fail: true, may_be_refused: true }
    }

    /// One with rows, if there is one: whether a call without columns fails where there are none hangs on whether the
    /// engine computes it before it looks.
    fn whole_table(&mut self) -> Relation {
        let with_rows: Vec<&Readable> = self.readable.iter().filter(|table| table.rows_max > 0).collect();
        let table = match with_rows.as_slice() {
            [] => self.dice.pick(self.readable).clone(),
            some => (*self.dice.pick(some)).clone(),
        };
        let alias = self.name("t");
        Relation {
            sql: format!("{} AS {alias}", table.name),
            columns: table.columns.into_iter().map(|c| c.of(&alias)).collect(),
            nested: table.nested.into_iter().map(|whole| whole.of(&alias)).collect(),
            rows_max: table.rows_max,
        }
    }

    fn sure_call(&mut self, from: &Relation) -> String {
        // Once for each of its names, so that all of them come.
        let sure = FUNCTIONS.iter().filter(|call| call.sure);
        let sure: Vec<&Call> = sure.flat_map(|call| std::iter::repeat_n(call, call.names.len().max(1))).collect();
        let call = *self.dice.pick(&sure);
        self.written(call, &from.columns, &from.nested, "1")
    }

    fn aggregates(&mut self) -> String {
        let from = self.whole_table();
        let number = self.column_of(Kind::Int, &from.columns).map_or_else(|| "7".to_owned(), |c| c.sql);
        let key = format!("({number} % {})", self.dice.pick(&["2", "3", "100"]));
        let mut list = vec![key.clone()];
        for _ in 0..self.dice.between(2, 4) {
            let call = self.dice.pick(&AGGREGATES[..]);
            let mut sql = self.written(call, &from.columns, &from.nested, &key);
            // What stands outside of the parentheses comes last.
            if !sql.contains("WITHIN GROUP") && !sql.starts_with("grouping") && self.dice.chance(15) {
                sql.push_str(&format!(" FILTER (WHERE {})", self.condition(&from.columns, 1)));
            }
            list.push(sql);
        }
        let filter =
            if self.dice.chance(30) { format!(" WHERE {}", self.condition(&from.columns, 1)) } else { String::new() };
        format!("SELECT {} FROM {}{filter} GROUP BY {key}", numbered(&list), from.sql)
    }

    fn written(&mut self, call: &Call, columns: &[Column], nested: &[Whole], key: &str) -> String {
        let name = if call.names.is_empty() { "" } else { *self.dice.pick(&call.names) };
        let rest = self.filled(call.rest, columns, nested, key);
        format!("{name}{rest}")
    }

    /// The call with values in the place of `{…}`.
    fn filled(&mut self, call: &str, columns: &[Column], nested: &[Whole], key: &str) -> String {
        let mut sql = String::new();
        let mut rest = call;
        while let Some((before, after)) = rest.split_once('{') {
            let (what, after) = after.split_once('}').expect("a closing brace");
            sql.push_str(before);
            sql.push_str(&self.argument(what, columns, nested, key));
            rest = after;
        }
        sql + rest
    }

    fn argument(&mut self, what: &str, columns: &[Column], nested: &[Whole], key: &str) -> String {
        let mut of = |kind| {
            let depth = usize::from(self.dice.chance(25));
            match self.column_of(kind, columns) {
                Some(column) if depth == 0 => column.sql,
                _ => self.expression(kind, columns, depth),
            }
        };
        match what {
            "bool" => of(Kind::Boolean),
            "int" => of(Kind::Int),
            "small" => format!("({} % 9)", of(Kind::Int)),
            "count" => format!("abs({} % 5)", of(Kind::Int)),
            "float" => of(Kind::Float),
            "unit" => format!("sin({})", of(Kind::Float)),
            "dec" => of(Kind::Decimal),
            "text" => of(Kind::Text),
            "bytes" => format!("CAST({} AS BYTEA)", of(Kind::Text)),
            "date" => of(Kind::Date),
            "ts" => of(Kind::Timestamp),
            "ints" => self.list_of(Kind::Int, columns, nested),
            "floats" => self.list_of(Kind::Float, columns, nested),
            "texts" => self.list_of(Kind::Text, columns, nested),
            "ints2" => format!("make_array({}, 2)", of(Kind::Int)),
            "floats2" => format!("make_array({}, 0.5)", of(Kind::Float)),
            "texts2" => "make_array('x', 'y')".to_owned(),
            "map" => format!("map(make_array('x', 'y'), make_array({}, 2))", of(Kind::Int)),
            "list" => {
                let lists: Vec<&Whole> = nested.iter().filter(|w| matches!(w.data_type, DataType::List(_))).collect();
                if lists.is_empty() {
                    format!("make_array({}, 7)", of(Kind::Int))
                } else {
                    self.dice.pick(&lists).sql.clone()
                }
            }
            "struct" => {
                let structs: Vec<&Whole> =
                    nested.iter().filter(|w| matches!(w.data_type, DataType::Struct(_))).collect();
                if structs.is_empty() {
                    format!("named_struct('a', {}, 'b', {})", of(Kind::Int), of(Kind::Text))
                } else {
                    self.dice.pick(&structs).sql.clone()
                }
            }
            "any" => match self.dice.below(4) {
                0 if !nested.is_empty() => self.dice.pick(nested).sql.clone(),
                _ => self.dice.pick(columns).sql.clone(),
            },
            "word" => {
                let text = of(Kind::Text);
                if self.dice.chance(50) { text } else { self.argument(WORDS, columns, nested, key) }
            }
            "all" => {
                let all: BTreeSet<&str> = columns.iter().map(|c| c.sql.as_str()).collect();
                all.into_iter().collect::<Vec<_>>().join(", ")
            }
            "key" => key.to_owned(),
            choices if choices.contains('|') => {
                let choices: Vec<&str> = choices.split('|').collect();
                (*self.dice.pick(&choices)).to_owned()
            }
            other => panic!("`{other}` is nothing that a call takes"),
        }
    }

    fn list_of(&mut self, kind: Kind, columns: &[Column], nested: &[Whole]) -> String {
        let fits = |item: &DataType| item.class() != weir_model::TypeClass::Nested && Kind::of(item) == kind;
        let lists: Vec<&Whole> =
            nested.iter().filter(|w| matches!(&w.data_type, DataType::List(item) if fits(item))).collect();
        if !lists.is_empty() && self.dice.chance(75) {
            return self.dice.pick(&lists).sql.clone();
        }
        let first = self.column_of(kind, columns).map_or_else(|| self.operand(kind, columns), |c| c.sql);
        format!("make_array({first}, {})", self.operand(kind, columns))
    }
}

/// A SELECT list with a name for each.
fn numbered(list: &[String]) -> String {
    list.iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}")).collect::<Vec<_>>().join(", ")
}
