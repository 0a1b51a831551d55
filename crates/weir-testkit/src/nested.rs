//! Values inside of values, one at a time.

use weir_model::{Column, ColumnId, DataSource, DataType, TypeClass};

use crate::cell::{Cell, Row};
use crate::oracle::Misfit;

/// What stands in the place of a value at these positions in the lists that it is in.
pub(crate) type Change<'a> = dyn FnMut(&Cell, &[usize]) -> Result<Cell, Misfit> + 'a;

/// What conditions can speak of: columns and parts with one plain value a row.
pub(crate) fn singles(source: &DataSource) -> Vec<&Column> {
    let plain = |column: &&Column| column.data_type.class() != TypeClass::Nested;
    let repeated = |column: &Column| source.part(column.id).is_some_and(|part| part.repeated);
    source.places().filter(plain).filter(|column| !repeated(column)).collect()
}

/// The value of a column, or of a part with one value a row.
pub(crate) fn cell<'a>(source: &DataSource, row: &'a [Cell], id: ColumnId) -> Option<&'a Cell> {
    let place = |id: ColumnId| source.columns.iter().position(|c| c.id == id);
    let Some(part) = source.part(id) else { return row.get(place(id)?) };
    let place = place(part.within)?;
    let (mut value, mut data_type) = (&row[place], &source.columns[place].data_type);
    for name in &part.path {
        let DataType::Struct(fields) = data_type else { return None };
        let at = fields.iter().position(|field| field.name == *name)?;
        data_type = &fields[at].data_type;
        value = match value {
            Cell::Struct(cells) => &cells[at],
            Cell::Null => return Some(&Cell::Null),
            other => panic!("{other} is no struct"),
        };
    }
    Some(value)
}

/// `value` with what is at the path changed, everywhere; `positions` are those in the lists on the way.
pub(crate) fn change_at(
    value: &Cell,
    data_type: &DataType,
    path: &[String],
    positions: &[usize],
    change: &mut Change<'_>,
) -> Result<Cell, Misfit> {
    let Some((first, inside)) = path.split_first() else { return change(value, positions) };
    match (value, data_type) {
        (Cell::Null, _) => Ok(Cell::Null),
        (Cell::List(items), DataType::List(item)) => {
            let changed = items
                .iter()
                .enumerate()
                .map(|(number, value)| change_at(value, item, path, &[positions, &[number]].concat(), change));
            Ok(Cell::List(changed.collect::<Result<_, _>>()?))
        }
        (Cell::Struct(cells), DataType::Struct(fields)) => {
            let mut changed = cells.clone();
            let at = fields.iter().position(|field| field.name == *first).ok_or(Misfit::Broken)?;
            changed[at] = change_at(&cells[at], &fields[at].data_type, inside, positions, change)?;
            Ok(Cell::Struct(changed))
        }
        _ => Err(Misfit::Broken),
    }
}

/// `value` with the elements of lists changed one by one.
pub(crate) fn each(
    value: &Cell,
    data_type: &DataType,
    positions: &[usize],
    change: &mut Change<'_>,
) -> Result<Cell, Misfit> {
    let DataType::List(item) = data_type else { return change(value, positions) };
    match value {
        Cell::Null => Ok(Cell::Null),
        Cell::List(items) => {
            let items = items.iter().enumerate();
            let changed = items.map(|(number, value)| each(value, item, &[positions, &[number]].concat(), change));
            Ok(Cell::List(changed.collect::<Result<_, _>>()?))
        }
        _ => Err(Misfit::Broken),
    }
}

/// The texts anywhere inside.
pub(crate) fn texts(row: &Row) -> Vec<&str> {
    let mut found = Vec::new();
    let mut cells: Vec<&Cell> = row.iter().collect();
    while let Some(cell) = cells.pop() {
        match cell {
            Cell::Text(text) => found.push(text.as_str()),
            Cell::List(inside) | Cell::Struct(inside) => cells.extend(inside),
            Cell::Null
            | Cell::Boolean(_)
            | Cell::Int(_)
            | Cell::Float(_)
            | Cell::Decimal { .. }
            | Cell::Date(_)
            | Cell::Timestamp(_) => {}
        }
    }
    found
}
