//! Expressions and conditions. Those that can fail are made so that they fail on no visible row: an error then says
//! that a hidden row or an original value was looked at.

use super::{Asker, Column, Kind};

impl Asker<'_> {
    pub(super) fn column_of(&mut self, kind: Kind, columns: &[Column]) -> Option<Column> {
        let alike: Vec<&Column> = columns.iter().filter(|c| c.kind == kind).collect();
        (!alike.is_empty()).then(|| (*self.dice.pick(&alike)).clone())
    }

    /// A literal that is often in a column of the kind.
    fn literal(&mut self, kind: Kind, columns: &[Column]) -> String {
        let seen: Vec<&String> = columns.iter().filter(|c| c.kind == kind).flat_map(|c| &c.literals).collect();
        if seen.is_empty() || self.dice.chance(15) {
            kind.literal().to_owned()
        } else {
            (*self.dice.pick(&seen)).clone()
        }
    }

    /// As [`Self::literal`], for sums: exact, which a number with a point is not by itself.
    pub(super) fn operand(&mut self, kind: Kind, columns: &[Column]) -> String {
        let literal = self.literal(kind, columns);
        if kind == Kind::Decimal { format!("CAST({literal} AS DECIMAL(10, 2))") } else { literal }
    }

    pub(super) fn expression(&mut self, kind: Kind, columns: &[Column], depth: usize) -> String {
        if depth == 0 || self.dice.chance(35) {
            return match self.column_of(kind, columns) {
                Some(column) if self.dice.chance(80) => column.sql,
                _ => self.operand(kind, columns),
            };
        }
        match self.dice.below(9) {
            // Functions that fail on nothing.
            8 if !self.sizes.common_dialect => match self.everywhere(kind, columns) {
                Some(call) => call,
                None => self.operation(kind, columns, depth - 1),
            },
            0 => {
                let when = self.condition(columns, depth - 1);
                let (then, other) =
                    (self.expression(kind, columns, depth - 1), self.expression(kind, columns, depth - 1));
                format!("CASE WHEN {when} THEN {then} ELSE {other} END")
            }
            1 => format!("coalesce({}, {})", self.expression(kind, columns, depth - 1), self.operand(kind, columns)),
            2 => format!("nullif({}, {})", self.expression(kind, columns, depth - 1), self.operand(kind, columns)),
            _ => self.operation(kind, columns, depth - 1),
        }
    }

    fn operation(&mut self, kind: Kind, columns: &[Column], depth: usize) -> String {
        let own = self.expression(kind, columns, depth);
        match kind {
            Kind::Boolean => self.condition(columns, depth),
            Kind::Int => match self.dice.below(8) {
                0 => format!("length({})", self.expression(Kind::Text, columns, depth)),
                1 => format!("({own} - {})", self.expression(Kind::Int, columns, depth)),
                2 => format!("({own} * {})", self.dice.pick(&["2", "-1", "10"])),
                3 => format!("({own} % {})", self.dice.pick(&["2", "3", "7"])),
                4 => format!("extract(year FROM {})", self.expression(Kind::Date, columns, depth)),
                5 => self.probe_number(columns).unwrap_or(own),
                6 => format!("({own} / nullif({}, 0))", self.expression(Kind::Int, columns, depth)),
                _ => format!("({own} + {})", self.expression(Kind::Int, columns, depth)),
            },
            Kind::Float => match self.dice.below(3) {
                0 => format!("CAST({} AS DOUBLE PRECISION)", self.expression(Kind::Int, columns, depth)),
                1 => format!("({own} * 2.0)"),
                _ => format!("({own} + {})", self.expression(Kind::Float, columns, depth)),
            },
            Kind::Decimal => match self.dice.below(2) {
                0 => format!("({own} + {})", self.operand(Kind::Decimal, columns)),
                _ => format!("abs({own})"),
            },
            Kind::Text => match self.dice.below(8) {
                0 => format!("upper({own})"),
                1 => format!("lower({own})"),
                2 => format!("substr({own}, {}, {})", self.dice.between(1, 3), self.dice.below(4)),
                3 => format!("({own} || {})", self.expression(Kind::Text, columns, depth)),
                4 => format!("CAST({} AS TEXT)", self.expression(Kind::Int, columns, depth)),
                5 => format!("replace({own}, 'A', 'bb')"),
                6 => format!("concat({own}, '-', {})", self.expression(Kind::Text, columns, depth)),
                _ => format!("trim({own})"),
            },
            Kind::Date => match self.dice.below(2) {
                0 => format!("CAST({} AS DATE)", self.expression(Kind::Timestamp, columns, depth)),
                _ => own,
            },
            Kind::Timestamp => {
                let unit = self.dice.pick(&["hour", "day", "week", "month", "year"]);
                format!("date_trunc('{unit}', {own})")
            }
        }
    }

    pub(super) fn condition(&mut self, columns: &[Column], depth: usize) -> String {
        if depth > 0 && self.dice.chance(30) {
            let (left, right) = (self.condition(columns, depth - 1), self.condition(columns, depth - 1));
            return match self.dice.below(4) {
                0 => format!("NOT ({left})"),
                1 => format!("({left} OR {right})"),
                _ => format!("({left} AND {right})"),
            };
        }
        if self.dice.chance(20)
            && let Some(probe) = self.probe(columns)
        {
            return probe;
        }
        let column = self.dice.pick(columns).clone();
        let value =
            if self.dice.chance(60) { column.sql.clone() } else { self.expression(column.kind, columns, depth.min(1)) };
        let not = if self.dice.chance(25) { "NOT " } else { "" };
        match (self.dice.below(8), column.kind) {
            (0, _) => format!("{value} IS {not}NULL"),
            (_, Kind::Boolean) => value,
            (1 | 2, Kind::Text) => {
                let like = self.dice.pick(&["LIKE", "LIKE", "ILIKE"]);
                let pattern = self.dice.pick(&["%a%", "A%", "_", "%", "", "1%", "%''%", "%b", "HID%"]);
                format!("{value} {not}{like} '{pattern}'")
            }
            (3, kind) => {
                let list: Vec<String> = (0..self.dice.between(1, 4)).map(|_| self.literal(kind, columns)).collect();
                format!("{value} {not}IN ({})", list.join(", "))
            }
            (4, kind) => {
                format!("{value} {not}BETWEEN {} AND {}", self.literal(kind, columns), self.literal(kind, columns))
            }
            (5, kind) => {
                let other = self.expression(kind, columns, 1);
                let op = self.dice.pick(&["<>", "<", ">=", "IS DISTINCT FROM"]);
                format!("{value} {op} {other}")
            }
            (_, kind) => {
                let op = self.dice.pick(&["=", "=", "<>", "<", "<=", ">", ">="]);
                format!("{value} {op} {}", self.literal(kind, columns))
            }
        }
    }

    /// A condition that fails on values which are not in the visible rows.
    pub(super) fn probe(&mut self, columns: &[Column]) -> Option<String> {
        if self.dice.chance(40) {
            let (column, absent) = self.absent(columns)?;
            let text = self.column_of(Kind::Text, columns);
            return Some(match (self.dice.below(3), text) {
                (0, Some(text)) => {
                    format!("CASE WHEN {column} = {absent} THEN CAST({} AS INT) ELSE 1 END > 0", text.sql)
                }
                (1, _) => format!("CAST(CASE WHEN {column} = {absent} THEN 9999999999 ELSE 1 END AS INT) > 0"),
                _ => format!("1 / ({column} - {absent}) >= -1000000"),
            });
        }
        Some(format!("{} >= -100", self.probe_number(columns)?))
    }

    /// A number whose making fails on values which are not in the visible rows.
    pub(super) fn probe_number(&mut self, columns: &[Column]) -> Option<String> {
        let digits: Vec<&Column> = columns.iter().filter(|c| c.digits).collect();
        if !digits.is_empty() && self.dice.chance(60) {
            return Some(format!("CAST({} AS INT)", self.dice.pick(&digits).sql));
        }
        let (column, absent) = self.absent(columns)?;
        Some(format!("CAST(10 / ({column} - {absent}) AS BIGINT)"))
    }

    /// A number column and a number that no visible row has in it.
    fn absent(&mut self, columns: &[Column]) -> Option<(String, i64)> {
        // Division by zero is an error for exact numbers only.
        let known: Vec<(String, i64)> = columns
            .iter()
            .filter(|c| matches!(c.kind, Kind::Int | Kind::Decimal))
            .filter_map(|c| Some((c.sql.clone(), c.absent?)))
            .collect();
        (!known.is_empty()).then(|| self.dice.pick(&known).clone())
    }

    pub(super) fn aggregate(&mut self, kind: Kind, columns: &[Column]) -> String {
        let any = self.dice.pick(columns).sql.clone();
        let inner = self.expression(kind, columns, 1);
        let call = match (kind, self.dice.below(6)) {
            (Kind::Int, 0) => "count(*)".to_owned(),
            (Kind::Int, 1) => format!("count({any})"),
            (Kind::Int, 2) => format!("count(DISTINCT {any})"),
            (Kind::Int | Kind::Float | Kind::Decimal, 3 | 4) => format!("sum({inner})"),
            (Kind::Boolean, 0..=2) => format!("bool_or({inner})"),
            (Kind::Boolean, _) => format!("bool_and({inner})"),
            (_, 5) => format!("max({inner})"),
            _ => format!("min({inner})"),
        };
        if self.dice.chance(20) { format!("{call} FILTER (WHERE {})", self.condition(columns, 1)) } else { call }
    }
}
