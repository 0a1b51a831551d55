//! Windows. Where what comes out depends on the order of rows, the order is one over all columns.

use super::{Asker, Column, Kind};

/// Functions that are called as windows only.
pub(super) const CALLS: [&str; 9] =
    ["cume_dist", "dense_rank", "lag", "lead", "ntile", "nth_value", "percent_rank", "rank", "row_number"];

const FRAME_STARTS: [&str; 3] = ["UNBOUNDED PRECEDING", "2 PRECEDING", "CURRENT ROW"];
const FRAME_ENDS: [&str; 3] = ["CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"];

impl Asker<'_> {
    /// A value of the kind from a window, for kinds that there is a window of.
    pub(super) fn window(&mut self, kind: Kind, columns: &[Column]) -> Option<String> {
        let all: Vec<&str> = columns.iter().map(|c| c.sql.as_str()).collect();
        let (one, total) = (self.dice.pick(columns).sql.clone(), all.join(", "));
        let over = if self.dice.chance(60) {
            format!("PARTITION BY {one} ORDER BY {total}")
        } else {
            format!("ORDER BY {total}")
        };
        if kind == Kind::Float && self.dice.chance(50) {
            let call = self.dice.pick(&["percent_rank", "cume_dist"]);
            return Some(format!("{call}() OVER (ORDER BY {one})"));
        }
        if kind == Kind::Int && self.dice.chance(70) {
            return Some(self.number_from_window(columns, &one, &over));
        }
        let value = self.column_of(kind, columns)?.sql;
        let unit = self.dice.pick(&["ROWS", "GROUPS", "RANGE"]);
        Some(match self.dice.below(7) {
            0 => format!("lag({value}) OVER ({over})"),
            1 => format!("lead({value}, 2) OVER ({over})"),
            2 => format!("first_value({value}) OVER ({over} {unit} {})", self.wide_frame()),
            3 => format!("last_value({value}) OVER ({over} {unit} {})", self.wide_frame()),
            4 => format!("nth_value({value}, {}) OVER ({over})", self.dice.between(1, 3)),
            5 if kind != Kind::Boolean => format!("max({value}) OVER ({over} ROWS {})", self.frame()),
            _ => format!("lag({value}, 1, {}) OVER ({over})", self.operand(kind, columns)),
        })
    }

    fn number_from_window(&mut self, columns: &[Column], one: &str, over: &str) -> String {
        let number = self.column_of(Kind::Int, columns);
        let value = number.as_ref().map_or_else(|| "1".to_owned(), |c| c.sql.clone());
        match self.dice.below(10) {
            0 => format!("row_number() OVER ({over})"),
            1 => format!("rank() OVER (ORDER BY {one})"),
            2 => format!("dense_rank() OVER ({over})"),
            3 => format!("ntile({}) OVER ({over})", self.dice.between(1, 4)),
            4 => format!("count(*) OVER (PARTITION BY {one})"),
            5 => format!("sum({value}) OVER ({over})"),
            6 => format!("count({one}) OVER ({over} GROUPS {})", self.frame()),
            7 if number.is_some() => {
                // Rows with the same value are all in a frame, or none.
                let end = self.dice.pick(&["CURRENT ROW", "3 FOLLOWING"]);
                format!("sum({value}) OVER (ORDER BY {value} RANGE BETWEEN 5 PRECEDING AND {end})")
            }
            8 => format!("min({value}) OVER ({over} ROWS {})", self.frame()),
            _ => format!("sum({value}) OVER ({over} ROWS {})", self.frame()),
        }
    }

    fn frame(&mut self) -> String {
        format!("BETWEEN {} AND {}", self.dice.pick(&FRAME_STARTS), self.dice.pick(&FRAME_ENDS))
    }

    /// A frame that may stand with an order over several columns, whatever its unit.
    fn wide_frame(&mut self) -> String {
        let frames = [
            "BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            "BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ];
        (*self.dice.pick(&frames)).to_owned()
    }
}
