//! How a value is replaced.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_mask::{FormatPreserving, Randomizer, Replacement, Reversible, RowKey, Sampler};
use weir_model::{Column, ColumnId, DataSource, DataType, Secret, SourceId, TypeClass};
use weir_policy::KeyScope;
use weir_policy::ast::{CalendarUnit, MaskAction, Method, Randomized, RoundTo};

use super::bucket::by_profile;
use super::predicate::Scope;
use super::{KEY_ID, Misfit, View};
use crate::cell::{Cell, Row, parse_decimal};
use crate::nested;

/// The keys of masks on one source.
pub(crate) struct Masking {
    /// Of hashes.
    hash: Secret,
    pub(super) own: weir_mask::Keys,
}

impl Masking {
    /// `None` without a key.
    pub(crate) fn new(keys: &super::Keys, source: SourceId, hash: &KeyScope) -> Option<Self> {
        let own = weir_mask::Keys::new(KEY_ID, keys.get(&KeyScope::Source(source))?).ok()?;
        Some(Self { hash: keys.get(hash)?, own })
    }

    pub(crate) fn samples(&self, per_ten_thousand: u16, row_key: &RowKey) -> bool {
        Sampler::new(&self.own, per_ten_thousand).keeps(row_key.as_bytes())
    }

    /// What is seen in the place of a plain value, by any method but a custom function.
    fn masked(
        &self,
        method: &Method,
        column: &Column,
        original: &Cell,
        row_key: impl FnOnce() -> Result<RowKey, Misfit>,
    ) -> Result<Cell, Misfit> {
        match method {
            _ if original.is_null() && !matches!(method, Method::Constant(_)) => Ok(Cell::Null),
            Method::Reversible => match original {
                Cell::Text(text) => Ok(Cell::Text(Reversible::new(&self.own, column.id).mask(text))),
                _ => Err(Misfit::Broken),
            },
            Method::FormatPreserving => {
                let cipher = FormatPreserving::new(&self.own, column.id);
                match (original, &column.data_type) {
                    (Cell::Text(text), _) => Ok(cipher.mask(text).map_or(Cell::Null, Cell::Text)),
                    (Cell::Int(n), DataType::Int32) => {
                        whole(cipher.mask_int((*n).into(), i32::MIN.into()..=i32::MAX.into()), &column.data_type)
                    }
                    (Cell::Int(n), DataType::Int64) => {
                        whole(cipher.mask_int((*n).into(), i64::MIN.into()..=i64::MAX.into()), &column.data_type)
                    }
                    _ => Err(Misfit::Broken),
                }
            }
            Method::Randomized(how) => {
                let randomizer = Randomizer::new(&self.own, column.id);
                randomized(how, original, &column.data_type, &randomizer, row_key()?.as_bytes())
            }
            Method::Hash
            | Method::Null
            | Method::KAnonymous(_)
            | Method::Constant(_)
            | Method::Round(_)
            | Method::Regex { .. } => masked(method, original, &column.data_type, &self.hash),
            Method::RoundByProfile => {
                let to = by_profile(column).ok_or(Misfit::Broken)?;
                rounded(original, &to, &column.data_type)
            }
            Method::Custom(_) => Err(Misfit::Broken),
        }
    }
}

/// The first method of the mask that is for the type of the column; the first of all where none is.
pub(super) fn method_for<'a>(mask: &'a MaskAction, column: &Column) -> &'a Method {
    let data_type = column.data_type.element();
    mask.methods().map(|method| &method.node).find(|method| is_for(method, data_type)).unwrap_or(&mask.method.node)
}

/// Generated worlds have stand-ins for these methods only, with numbers that every column of numbers can hold.
fn is_for(method: &Method, data_type: &DataType) -> bool {
    let class = data_type.class();
    match method {
        Method::Hash | Method::Reversible | Method::Regex { .. } => class == TypeClass::Text,
        Method::FormatPreserving => class == TypeClass::Text || matches!(data_type, DataType::Int32 | DataType::Int64),
        Method::Round(RoundTo::Number(_)) => class == TypeClass::Number,
        Method::Round(RoundTo::Calendar(CalendarUnit::Hour)) => class == TypeClass::Timestamp,
        Method::Round(RoundTo::Calendar(_)) => matches!(class, TypeClass::Date | TypeClass::Timestamp),
        Method::Randomized(Randomized::Within(_)) => class == TypeClass::Number,
        Method::Randomized(Randomized::WithinDays(_)) => matches!(class, TypeClass::Date | TypeClass::Timestamp),
        Method::Null
        | Method::Constant(_)
        | Method::RoundByProfile
        | Method::KAnonymous(_)
        | Method::Randomized(Randomized::Replaced { .. })
        | Method::Custom(_) => true,
    }
}

impl View<'_> {
    /// What is seen in the place of a value in the column or part; `positions` are those in the lists that it is in.
    pub(super) fn masked(
        &self,
        method: &Method,
        column: &Column,
        (original, positions): (&Cell, &[usize]),
        row: &Row,
    ) -> Result<Cell, Misfit> {
        if let Method::Custom(expression) = method {
            let value = self.value(expression, &Scope::masking(self.source, row, column))?;
            return value.coerced(&column.data_type).ok_or(Misfit::Broken);
        }
        self.masking()?.replaced(method, column, (original, positions), |positions| {
            let mut key = row_key(self.source, &self.source.row_key, row)?;
            for position in positions {
                key.int(*position as i128);
            }
            Ok(key)
        })
    }
}

impl Masking {
    /// As [`Self::masked`], lists element by element where that makes a difference.
    pub(crate) fn replaced(
        &self,
        method: &Method,
        column: &Column,
        (original, positions): (&Cell, &[usize]),
        row_key: impl Fn(&[usize]) -> Result<RowKey, Misfit>,
    ) -> Result<Cell, Misfit> {
        if matches!(method, Method::Null | Method::KAnonymous(_)) {
            return Ok(Cell::Null);
        }
        let element = Column { data_type: column.data_type.element().clone(), ..column.clone() };
        nested::each(original, &column.data_type, positions, &mut |original, positions| {
            self.masked(method, &element, original, || row_key(positions))
        })
    }
}

/// What tells the row from others.
pub(crate) fn row_key(source: &DataSource, columns: &[ColumnId], row: &Row) -> Result<RowKey, Misfit> {
    let mut key = RowKey::new();
    for id in columns {
        match nested::cell(source, row, *id).ok_or(Misfit::Broken)? {
            Cell::Null => key.null(),
            Cell::Boolean(b) => key.boolean(*b),
            Cell::Int(n) => key.int(*n),
            Cell::Float(n) => key.float(*n),
            Cell::Decimal { unscaled, .. } => key.int(*unscaled),
            Cell::Text(text) => key.text(text),
            Cell::Date(days) => key.int(*days),
            Cell::Timestamp(us) => key.int(*us),
            Cell::List(_) | Cell::Struct(_) => return Err(Misfit::Broken),
        };
    }
    if columns.is_empty() { Err(Misfit::Broken) } else { Ok(key) }
}

/// The number, or NULL when there is none or the type cannot hold it.
fn whole(number: Option<i128>, data_type: &DataType) -> Result<Cell, Misfit> {
    let fits = |n: i128| match data_type {
        DataType::Int32 => i32::try_from(n).map(i64::from).ok(),
        _ => i64::try_from(n).ok(),
    };
    Ok(number.and_then(fits).map_or(Cell::Null, Cell::Int))
}

fn randomized(
    how: &Randomized,
    original: &Cell,
    data_type: &DataType,
    randomizer: &Randomizer,
    row: &[u8],
) -> Result<Cell, Misfit> {
    match how {
        Randomized::Replaced { percent, by } => {
            let replacement = Replacement::new(percent, by.len()).ok_or(Misfit::Broken)?;
            match replacement.choose(randomizer, row) {
                Some(choice) => Cell::of_type(&by[choice], data_type).ok_or(Misfit::Broken),
                None => Ok(original.clone()),
            }
        }
        Randomized::Within(most) => {
            let (digits, scale) = parse_decimal(most).ok_or(Misfit::Broken)?;
            // In units of the column's last digit.
            let bound = |column_scale: u32| {
                let ten = |n: u32| 10_i128.pow(n);
                let scaled = digits * ten(column_scale.saturating_sub(scale));
                let cut = ten(scale.saturating_sub(column_scale));
                if scaled % cut == 0 {
                    u128::try_from(scaled / cut).map_err(|_| Misfit::Broken)
                } else {
                    Err(Misfit::Broken)
                }
            };
            match original {
                Cell::Int(n) => whole(randomizer.moved(row, (*n).into(), bound(0)?), data_type),
                Cell::Decimal { unscaled, scale } => {
                    let DataType::Decimal { precision, .. } = data_type else { return Err(Misfit::Broken) };
                    let moved = randomizer.moved(row, *unscaled, bound(*scale)?);
                    let fits = moved.filter(|n| n.abs() < 10_i128.pow(u32::from(*precision)));
                    Ok(fits.map_or(Cell::Null, |unscaled| Cell::Decimal { unscaled, scale: *scale }))
                }
                Cell::Float(n) => {
                    let most: f64 = most.parse().map_err(|_| Misfit::Broken)?;
                    Ok(randomizer.moved_float(row, *n, most).map_or(Cell::Null, Cell::Float))
                }
                _ => Err(Misfit::Broken),
            }
        }
        // By whole days, also where there is a time of day.
        Randomized::WithinDays(days) => {
            let distance = randomizer.moved(row, 0, (*days).into()).ok_or(Misfit::Broken)?;
            Ok(match original {
                Cell::Date(day) => i32::try_from(i128::from(*day) + distance).map_or(Cell::Null, Cell::Date),
                Cell::Timestamp(us) => {
                    i64::try_from(i128::from(*us) + distance * 86_400_000_000).map_or(Cell::Null, Cell::Timestamp)
                }
                _ => return Err(Misfit::Broken),
            })
        }
    }
}

/// By a method that takes nothing but the value.
fn masked(method: &Method, original: &Cell, data_type: &DataType, key: &Secret) -> Result<Cell, Misfit> {
    if let Method::Constant(value) = method {
        return Cell::of_type(value, data_type).ok_or(Misfit::Broken);
    }
    if original.is_null() {
        return Ok(Cell::Null);
    }
    match (method, original) {
        (Method::Null | Method::KAnonymous(_), _) => Ok(Cell::Null),
        (Method::Hash, Cell::Text(text)) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).map_err(|_| Misfit::Broken)?;
            mac.update(text.as_bytes());
            Ok(Cell::Text(mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()))
        }
        (Method::Regex { pattern, replacement, case_insensitive, global }, Cell::Text(text)) => {
            let regex = super::regex(pattern, *case_insensitive).ok_or(Misfit::Broken)?;
            let times = if *global { 0 } else { 1 };
            Ok(Cell::Text(regex.replacen(text, times, replacement.as_str()).into_owned()))
        }
        (Method::Round(to), value) => rounded(value, to, data_type),
        _ => Err(Misfit::Broken),
    }
}

/// Down to a multiple or to the start of a unit of time.
pub(super) fn rounded(value: &Cell, to: &RoundTo, data_type: &DataType) -> Result<Cell, Misfit> {
    match to {
        RoundTo::Number(to) => Ok(match floored(value, to)? {
            // Below the least value of the type.
            Cell::Int(n) if *data_type == DataType::Int32 && i32::try_from(n).is_err() => Cell::Null,
            rounded => rounded,
        }),
        RoundTo::Calendar(unit) => started(value, *unit),
    }
}

/// Down to a multiple of `to`, toward minus infinity.
fn floored(number: &Cell, to: &str) -> Result<Cell, Misfit> {
    let (step, step_scale) = parse_decimal(to).ok_or(Misfit::Broken)?;
    let ten = |n: u32| 10_i128.pow(n);
    let floor = |n: i128, step: i128| n.div_euclid(step) * step;
    match number {
        // n and the step as whole numbers of the step's last digit.
        Cell::Int(n) => {
            let rounded = floor(i128::from(*n) * ten(step_scale), step);
            if rounded % ten(step_scale) != 0 {
                return Err(Misfit::Broken);
            }
            Ok(Cell::Int(i64::try_from(rounded / ten(step_scale)).map_err(|_| Misfit::Broken)?))
        }
        Cell::Decimal { unscaled, scale } => {
            let common = step_scale.max(*scale);
            let rounded = floor(unscaled * ten(common - scale), step * ten(common - step_scale));
            if rounded % ten(common - scale) != 0 {
                return Err(Misfit::Broken);
            }
            Ok(Cell::Decimal { unscaled: rounded / ten(common - scale), scale: *scale })
        }
        Cell::Float(n) => {
            let step: f64 = to.parse().map_err(|_| Misfit::Broken)?;
            Ok(Cell::Float((n / step).floor() * step))
        }
        _ => Err(Misfit::Broken),
    }
}

/// Back to the start of the unit.
fn started(time: &Cell, unit: CalendarUnit) -> Result<Cell, Misfit> {
    let epoch = NaiveDate::default();
    match time {
        Cell::Date(days) => {
            let date = epoch + chrono::Duration::days(i64::from(*days));
            if unit == CalendarUnit::Hour {
                return Err(Misfit::Broken);
            }
            let started = first_day(date, unit);
            Ok(Cell::Date(i32::try_from((started - epoch).num_days()).map_err(|_| Misfit::Broken)?))
        }
        Cell::Timestamp(us) => {
            let at: NaiveDateTime = DateTime::from_timestamp_micros(*us).ok_or(Misfit::Broken)?.naive_utc();
            let hour = if unit == CalendarUnit::Hour { at.hour() } else { 0 };
            let started = first_day(at.date(), unit).and_hms_opt(hour, 0, 0).ok_or(Misfit::Broken)?;
            Ok(Cell::Timestamp(started.and_utc().timestamp_micros()))
        }
        _ => Err(Misfit::Broken),
    }
}

fn first_day(date: NaiveDate, unit: CalendarUnit) -> NaiveDate {
    let of = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1).expect("the first of a month");
    match unit {
        CalendarUnit::Hour | CalendarUnit::Day => date,
        CalendarUnit::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
        CalendarUnit::Month => of(date.month()),
        CalendarUnit::Quarter => of((date.month() - 1) / 3 * 3 + 1),
        CalendarUnit::Year => of(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cell: Cell, to: RoundTo) -> Cell {
        rounded(&cell, &to, &DataType::Int64).unwrap()
    }

    #[test]
    fn numbers_go_down() {
        let to = |n: &str| RoundTo::Number(n.to_owned());
        assert_eq!(round(Cell::Int(-1), to("100")), Cell::Int(-100));
        assert_eq!(round(Cell::Int(199), to("100")), Cell::Int(100));
        assert_eq!(round(Cell::Int(3), to("0.5")), Cell::Int(3));
        assert_eq!(
            round(Cell::Decimal { unscaled: -1, scale: 2 }, to("0.25")),
            Cell::Decimal { unscaled: -25, scale: 2 }
        );
        assert_eq!(round(Cell::Float(-0.75), to("0.5")), Cell::Float(-1.0));
    }

    #[test]
    fn days_go_back() {
        let days = |y, m, d| {
            let date: NaiveDate = NaiveDate::from_ymd_opt(y, m, d).unwrap();
            Cell::Date(i32::try_from((date - NaiveDate::default()).num_days()).unwrap())
        };
        let to = RoundTo::Calendar;
        assert_eq!(round(days(2024, 2, 29), to(CalendarUnit::Week)), days(2024, 2, 26));
        assert_eq!(round(days(1969, 12, 31), to(CalendarUnit::Quarter)), days(1969, 10, 1));
        assert_eq!(round(Cell::Timestamp(-1), to(CalendarUnit::Hour)), Cell::Timestamp(-3_600_000_000));
    }

    #[test]
    fn hash_is_rfc_2104() {
        // RFC 4231, test case 2, has a shorter key; HMAC pads it with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let text = Cell::Text("what do ya want for nothing?".to_owned());
        let hash = masked(&Method::Hash, &text, &DataType::Text, &Secret::new(key)).unwrap();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hash, Cell::Text(expected.to_owned()));
    }
}
