//! The portable form, carried out to the letter: what a decision obliges every door to do, done on rows of the kit.
//! With it a decision can be compared with the oracle and with another decision, without an engine.

use weir_model::{Column, ColumnId, DataSource, DataType, Value};
use weir_policy::ast::Method;
use weir_policy::{AppliedMask, Compare, Expr, Lookup, Mask, Nothing, Obligations, Residual, SourceDecision};

use crate::cell::{Cell, Row};
use crate::generate::World;
use crate::nested;
use crate::oracle::Misfit;
use crate::oracle::mask::{Masking, row_key};
use crate::oracle::predicate::{all, call, compare, equals_one, is_in, like, not, truth};

/// One row as a decision shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenRow {
    /// Among the original rows.
    pub place: usize,
    pub row: Row,
    /// For each column, whether no mask was applied.
    pub clear: Vec<bool>,
}

/// What a decision shows of the source; `None` when it denies it.
pub fn carry_out(world: &World, source: &DataSource, decision: &SourceDecision) -> Option<Vec<SeenRow>> {
    let obligations = match decision {
        SourceDecision::Deny(..) => return None,
        SourceDecision::Clear(_) => None,
        SourceDecision::Obliged(obligations, _) => Some(&**obligations),
    };
    let rows = world.tables[&source.id].iter().enumerate();
    let Some(obligations) = obligations else {
        let clear = |row: &Row| vec![true; row.len()];
        return Some(rows.map(|(place, row)| SeenRow { place, row: row.clone(), clear: clear(row) }).collect());
    };
    let door = Door::new(world, source, obligations);
    let mut seen = Vec::new();
    for (place, row) in rows {
        let shown = obligations.rows.iter().all(|part| door.holds(part, row));
        if !shown {
            continue;
        }
        let cells = source.columns.iter().zip(row).map(|(column, original)| {
            let mask = |id| obligations.masks.get(&id).and_then(|mask| door.mask(mask, row));
            let (mut cell, mut clear) = match mask(column.id) {
                Some(mask) => (door.masked(mask, column, (original, &[]), row), false),
                None => (original.clone(), true),
            };
            for part in source.parts.iter().filter(|part| part.within == column.id) {
                let Some(mask) = mask(part.column.id) else { continue };
                clear = false;
                let changed = nested::change_at(&cell, &column.data_type, &part.path, &[], &mut |inside, positions| {
                    Ok(door.masked(mask, &part.column, (inside, positions), row))
                });
                cell = changed.expect("a part of the column");
            }
            (cell, clear)
        });
        let (row, clear) = cells.unzip();
        seen.push(SeenRow { place, row, clear });
    }
    Some(seen)
}

struct Door<'a> {
    world: &'a World,
    source: &'a DataSource,
    masking: Masking,
}

impl<'a> Door<'a> {
    fn new(world: &'a World, source: &'a DataSource, obligations: &Obligations) -> Self {
        assert_eq!(obligations.source, source.id);
        let masking = Masking::new(&world.keys, source.id, &obligations.hash_key).expect("a key");
        Self { world, source, masking }
    }

    fn holds(&self, condition: &Residual, row: &Row) -> bool {
        self.value(condition, self.source, row).expect("a condition that fits") == Cell::Boolean(true)
    }

    /// The mask that holds for the row.
    fn mask<'m>(&self, mut applied: &'m AppliedMask, row: &Row) -> Option<&'m Mask> {
        loop {
            match &applied.when {
                Some(when) if !self.holds(when, row) => applied = applied.otherwise.as_deref()?,
                Some(_) | None => return Some(&applied.mask),
            }
        }
    }

    fn masked(&self, mask: &Mask, column: &Column, original: (&Cell, &[usize]), row: &Row) -> Cell {
        let mut key = self.source.row_key.as_slice();
        let method = match mask {
            Mask::Hash => Method::Hash,
            Mask::Null => Method::Null,
            Mask::Constant(value) => Method::Constant(value.clone()),
            Mask::Round(to) => Method::Round(to.clone()),
            Mask::Regex { pattern, replacement, case_insensitive, global } => Method::Regex {
                pattern: pattern.clone(),
                replacement: replacement.clone(),
                case_insensitive: *case_insensitive,
                global: *global,
            },
            Mask::Reversible => Method::Reversible,
            Mask::FormatPreserving => Method::FormatPreserving,
            Mask::Randomized { how, row_key } => {
                key = row_key.as_slice();
                Method::Randomized(how.clone())
            }
            Mask::Computed(expression) => {
                let value = self.value(expression, self.source, row).expect("an expression that fits");
                return value.coerced(&column.data_type).expect("a value of the column's type");
            }
        };
        let row_key = |positions: &[usize]| {
            let mut key = row_key(self.source, key, row)?;
            for position in positions {
                key.int(*position as i128);
            }
            Ok(key)
        };
        self.masking.replaced(&method, column, original, row_key).expect("a mask that fits")
    }

    fn value(&self, expr: &Residual, source: &DataSource, row: &Row) -> Result<Cell, Misfit> {
        let value = |expr: &Residual| self.value(expr, source, row);
        let cell = |row: &Row, id: &ColumnId| nested::cell(source, row, *id).expect("a column of the source").clone();
        match expr {
            Expr::Literal(literal) => Cell::literal(literal).ok_or(Misfit::Broken),
            Expr::Column(id) => Ok(cell(row, id)),
            Expr::Compare { op, left, right } => Ok(truth(compare(*op, &value(left)?, &value(right)?)?)),
            Expr::InList { value: v, list } => {
                let list: Option<Vec<Cell>> = list.iter().map(Cell::literal).collect();
                is_in(&value(v)?, &list.ok_or(Misfit::Broken)?)
            }
            Expr::InValues { value: v, values } => Ok(equals_one(&value(v)?, &type_of(v, source), values.as_slice())),
            Expr::Keyed { columns, arms } => {
                let found = arms.iter().any(|arm| {
                    let equal = |(id, key): (&ColumnId, &Value)| {
                        let key = Cell::literal(key).expect("a literal");
                        compare(Compare::Equal, &cell(row, id), &key) == Ok(Some(true))
                    };
                    columns.iter().zip(&arm.key).all(equal) && value(&arm.rest) == Ok(Cell::Boolean(true))
                });
                Ok(Cell::Boolean(found))
            }
            Expr::InLookup(lookup) => self.lookup(lookup, source, row),
            Expr::Frequent { columns, at_least } => {
                let alike = |other: &&Row| columns.iter().all(|id| cell(other, id) == cell(row, id));
                Ok(Cell::Boolean(self.world.tables[&source.id].iter().filter(alike).count() >= *at_least as usize))
            }
            Expr::Sampled { columns, per_ten_thousand } => {
                Ok(Cell::Boolean(self.masking.samples(*per_ten_thousand, &row_key(source, columns, row)?)))
            }
            Expr::Like { value: v, pattern, case_insensitive } => Ok(match value(v)? {
                Cell::Text(text) if *case_insensitive => {
                    Cell::Boolean(like(&text.to_lowercase(), &pattern.to_lowercase()))
                }
                Cell::Text(text) => Cell::Boolean(like(&text, pattern)),
                Cell::Null => Cell::Null,
                _ => return Err(Misfit::Broken),
            }),
            Expr::IsNull(v) => Ok(Cell::Boolean(value(v)?.is_null())),
            Expr::And(parts) => all(parts.iter().map(value)),
            Expr::Or(parts) => not(&all(parts.iter().map(|part| not(&value(part)?)))?),
            Expr::Not(inner) => not(&value(inner)?),
            Expr::Call { function, args, returns: _ } => {
                call(*function, &args.iter().map(value).collect::<Result<Vec<_>, _>>()?)
            }
            Expr::User(never) => match *never {},
        }
    }

    /// NULL when a key of the row is NULL; rows of the other source with a NULL in a key equal nothing.
    fn lookup(&self, lookup: &Lookup<Nothing>, source: &DataSource, row: &Row) -> Result<Cell, Misfit> {
        let there = self.world.facts.sources.iter().find(|s| s.id == lookup.source).ok_or(Misfit::Broken)?;
        let mut outer = Vec::new();
        for key in &lookup.keys {
            outer.push(self.value(&key.outer, source, row)?);
        }
        if outer.iter().any(Cell::is_null) {
            return Ok(Cell::Null);
        }
        for other in &self.world.tables[&there.id] {
            let mut equal = self.value(&lookup.filter, there, other)? == Cell::Boolean(true);
            for (key, outer) in lookup.keys.iter().zip(&outer) {
                let inner = self.value(&key.inner, there, other)?;
                equal &= compare(Compare::Equal, outer, &inner)? == Some(true);
            }
            if equal {
                return Ok(Cell::Boolean(true));
            }
        }
        Ok(Cell::Boolean(false))
    }
}

/// As which the values of a person are read to be compared with it.
fn type_of(expr: &Residual, source: &DataSource) -> DataType {
    match expr {
        Expr::Column(id) => source.place_by_id(*id).map(|place| place.data_type.clone()),
        Expr::Call { returns, .. } => Some(returns.clone()),
        _ => None,
    }
    .unwrap_or(DataType::Text)
}
