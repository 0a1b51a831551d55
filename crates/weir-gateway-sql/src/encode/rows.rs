//! DataRow messages of many rows at a time, column by column: every row is measured first, then each column is written
//! to its place in all of them. So nothing is decided or allocated for a single value, and most values are stored as one
//! or two words.
//!
//! A store may be wider than its value, as long as it stays in its row: what comes after is written later.

use std::iter;
use std::ops::Range;

use arrow::array::{Array as _, GenericByteViewArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, ByteViewType};

use super::{Batch, Cell, EncodeError, Encoded, Values, numeric, time};
use crate::types::Format;
use crate::wire::FLUSH_BYTES;

/// Rows that are written together. What they take stays close to the processor.
const ROWS_MAX: usize = 64;
/// What an inline view holds.
const INLINE: usize = 12;
/// Scales of which a part behind the point is a word of digits.
const SHORT_SCALES: Range<i8> = 1..8;
/// Scales of numbers that a word holds.
const WORD_SCALES: Range<i8> = 0..19;
/// Days of which the text is ten characters: years 1 to 9999.
const PLAIN_DAYS: Range<i32> = -719_162..2_932_897;

type Written = Result<usize, EncodeError>;

/// What writing takes, kept from one time to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    places: Vec<Place>,
    rendered: Vec<Rendered>,
}

/// Of a row: where its next field goes, and where it ends. While rows are measured, `at` is how long it is.
#[derive(Clone, Copy, Default)]
struct Place {
    at: usize,
    end: usize,
}

/// Fields of which the length is known only when they are made.
#[derive(Default)]
struct Rendered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rendered {
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

impl Batch {
    /// Appends messages of some of the rows from `from` on, at least one and at most `rows_max`, which are not 0; says of
    /// how many. On an error nothing is appended.
    pub(crate) fn encode(
        &self,
        from: usize,
        rows_max: usize,
        formats: &[Format],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        let width = i16::try_from(self.cells.len()).map_err(|_| EncodeError::TooLong)?;
        let width = u64::from(width.cast_unsigned().swap_bytes());
        let mut rows = self.rows.saturating_sub(from).min(rows_max).min(ROWS_MAX);
        let Scratch { places, rendered } = scratch;
        places.clear();
        places.resize(rows, Place { at: 7, end: 0 });
        rendered.resize_with(self.cells.len().max(rendered.len()), Rendered::default);
        for (index, (cell, rendered)) in self.cells.iter().zip(rendered.iter_mut()).enumerate() {
            rows = cell.measure(from, Format::pick(formats, index), places, rendered)?;
            places.truncate(rows);
        }

        let start = out.len();
        let mut end = start;
        for (row, place) in places.iter_mut().enumerate() {
            let next = end + place.at;
            if row > 0 && next - start > FLUSH_BYTES {
                rows = row;
                break;
            }
            *place = Place { at: end, end: next };
            end = next;
        }
        places.truncate(rows);
        out.resize(end, 0);
        let written = (|| {
            for place in places.iter_mut() {
                let length = i32::try_from(place.end - place.at - 1).map_err(|_| EncodeError::TooLong)?.cast_unsigned();
                let head = u64::from(b'D') | u64::from(length.swap_bytes()) << 8 | width << 40;
                let row = out.get_mut(place.at..place.end).ok_or(EncodeError::Shape)?;
                place.at += store_wide(head.to_le_bytes(), 7, row)?;
            }
            for (index, (cell, rendered)) in self.cells.iter().zip(rendered.iter()).enumerate() {
                cell.place(from, Format::pick(formats, index), places, rendered, out)?;
            }
            if places.iter().all(|place| place.at == place.end) { Ok(rows) } else { Err(EncodeError::Shape) }
        })();
        written.inspect_err(|_| out.truncate(start))
    }
}

impl Cell {
    /// Adds to the length of each row what its field takes. Gives the number of rows that were measured, if that is
    /// enough for once.
    fn measure(
        &self,
        from: usize,
        format: Format,
        rows: &mut [Place],
        rendered: &mut Rendered,
    ) -> Result<usize, EncodeError> {
        let count = rows.len();
        match (&self.values, format) {
            (Values::Bool(_), _) => self.add(from, rows, iter::repeat(()), |()| 1),
            (Values::Int2(_), Format::Binary) => self.add(from, rows, iter::repeat(()), |()| 2),
            (Values::Int4(_) | Values::Float4(_) | Values::Date(_), Format::Binary) => {
                self.add(from, rows, iter::repeat(()), |()| 4);
            }
            (
                Values::Int8(_) | Values::Float8(_) | Values::Time(_) | Values::Timestamp(_) | Values::TimestampTz(..),
                Format::Binary,
            ) => self.add(from, rows, iter::repeat(()), |()| 8),
            (Values::Int2(a), Format::Text) => self.add(from, rows, of(a, from), |v| integer_length(i64::from(v))),
            (Values::Int4(a), Format::Text) => self.add(from, rows, of(a, from), |v| integer_length(i64::from(v))),
            (Values::Int8(a), Format::Text) => self.add(from, rows, of(a, from), integer_length),
            (Values::Numeric(a, scale), Format::Text) if SHORT_SCALES.contains(scale) => {
                let places = usize::from(scale.unsigned_abs());
                self.add(from, rows, of(a, from), |v| decimal_length(v, places));
            }
            (Values::Numeric(a, scale), Format::Binary) if WORD_SCALES.contains(scale) => {
                let shape = Shape::of(*scale);
                self.add(from, rows, of(a, from), |v| shape.length(v));
            }
            (Values::Date(a), Format::Text) => self.add(from, rows, of(a, from), date_length),
            (Values::TextView(a), _) => self.add(from, rows, views(a, from), length_of),
            (Values::Text(a), _) => self.add(from, rows, from..a.len(), |row| a.value(row).len()),
            (Values::LargeText(a), _) => self.add(from, rows, from..a.len(), |row| a.value(row).len()),
            (Values::Bytes(a), Format::Binary) => self.add(from, rows, from..a.len(), |row| a.value(row).len()),
            (Values::BytesView(a), Format::Binary) => {
                self.add(from, rows, views(a, from), length_of);
            }
            (
                Values::Float4(_)
                | Values::Float8(_)
                | Values::Bytes(_)
                | Values::BytesView(_)
                | Values::Time(_)
                | Values::Timestamp(_)
                | Values::TimestampTz(..),
                Format::Text,
            )
            | (
                Values::Null
                | Values::Numeric(..)
                | Values::WideNumeric(..)
                | Values::Interval(_)
                | Values::Duration(_)
                | Values::List { .. }
                | Values::Json(_),
                _,
            ) => return self.render(from, format, rows, rendered),
        }
        Ok(count)
    }

    // In one place, so that it is made part of the loop.
    #[inline(always)]
    fn add<T>(&self, from: usize, rows: &mut [Place], values: impl Iterator<Item = T>, length: impl Fn(T) -> usize) {
        let nulls = self.nulls.as_ref();
        for ((row, value), index) in rows.iter_mut().zip(values).zip(from..) {
            row.at += if nulls.is_some_and(|nulls| nulls.is_null(index)) { 4 } else { 4 + length(value) };
        }
    }

    /// Makes fields value by value, until there is enough of them for once.
    fn render(
        &self,
        from: usize,
        format: Format,
        rows: &mut [Place],
        rendered: &mut Rendered,
    ) -> Result<usize, EncodeError> {
        rendered.bytes.clear();
        rendered.ends.clear();
        for (row, index) in rows.iter_mut().zip(from..) {
            let before = rendered.bytes.len();
            if before > FLUSH_BYTES {
                break;
            }
            self.field(index, format, &mut rendered.bytes)?;
            row.at += rendered.bytes.len() - before;
            rendered.ends.push(rendered.bytes.len());
        }
        Ok(rendered.ends.len())
    }

    /// Writes the field of every row to where it goes.
    fn place(&self, from: usize, format: Format, rows: &mut [Place], rendered: &Rendered, out: &mut [u8]) -> Encoded {
        match (&self.values, format) {
            (Values::Bool(a), Format::Text) => {
                let texts = (from..a.len()).map(|row| if a.value(row) { b't' } else { b'f' });
                self.put(from, rows, texts, out, |v, room| store(room, [0, 0, 0, 1, v]))
            }
            (Values::Bool(a), Format::Binary) => {
                let bytes = (from..a.len()).map(|row| u8::from(a.value(row)));
                self.put(from, rows, bytes, out, |v, room| store(room, [0, 0, 0, 1, v]))
            }
            (Values::Int2(a), Format::Binary) => self.put(from, rows, of(a, from), out, |v, room| {
                let [a, b] = v.to_be_bytes();
                store(room, [0, 0, 0, 2, a, b])
            }),
            (Values::Int4(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| four(v.to_be_bytes(), room))
            }
            (Values::Float4(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| four(v.to_be_bytes(), room))
            }
            (Values::Date(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| four(time::pg_days(v)?.to_be_bytes(), room))
            }
            (Values::Int8(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| eight(v.to_be_bytes(), room))
            }
            (Values::Float8(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| eight(v.to_be_bytes(), room))
            }
            (Values::Time(a), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| eight(v.to_be_bytes(), room))
            }
            (Values::Timestamp(a) | Values::TimestampTz(a, _), Format::Binary) => {
                self.put(from, rows, of(a, from), out, |v, room| eight(time::pg_micros(v)?.to_be_bytes(), room))
            }
            (Values::Int2(a), Format::Text) => {
                self.put(from, rows, of(a, from), out, |v, room| integer(i64::from(v), room))
            }
            (Values::Int4(a), Format::Text) => {
                self.put(from, rows, of(a, from), out, |v, room| integer(i64::from(v), room))
            }
            (Values::Int8(a), Format::Text) => self.put(from, rows, of(a, from), out, integer),
            (Values::Numeric(a, scale), Format::Text) if SHORT_SCALES.contains(scale) => {
                let places = u32::from(scale.unsigned_abs());
                self.put(from, rows, of(a, from), out, |v, room| decimal(v, places, room))
            }
            (Values::Numeric(a, scale), Format::Binary) if WORD_SCALES.contains(scale) => {
                let shape = Shape::of(*scale);
                self.put(from, rows, of(a, from), out, |v, room| shape.write(v, room))
            }
            (Values::Date(a), Format::Text) => self.put(from, rows, of(a, from), out, date),
            (Values::TextView(a), _) => {
                let views = views(a, from).zip(from..);
                self.put(from, rows, views, out, |(view, row), room| {
                    short(view, room).map_or_else(|| bytes(a.value(row).as_bytes(), room), Ok)
                })
            }
            (Values::BytesView(a), Format::Binary) => {
                let views = views(a, from).zip(from..);
                self.put(from, rows, views, out, |(view, row), room| {
                    short(view, room).map_or_else(|| bytes(a.value(row), room), Ok)
                })
            }
            (Values::Text(a), _) => {
                self.put(from, rows, from..a.len(), out, |row, room| bytes(a.value(row).as_bytes(), room))
            }
            (Values::LargeText(a), _) => {
                self.put(from, rows, from..a.len(), out, |row, room| bytes(a.value(row).as_bytes(), room))
            }
            (Values::Bytes(a), Format::Binary) => {
                self.put(from, rows, from..a.len(), out, |row, room| bytes(a.value(row), room))
            }
            (
                Values::Float4(_)
                | Values::Float8(_)
                | Values::Bytes(_)
                | Values::BytesView(_)
                | Values::Time(_)
                | Values::Timestamp(_)
                | Values::TimestampTz(..),
                Format::Text,
            )
            | (
                Values::Null
                | Values::Numeric(..)
                | Values::WideNumeric(..)
                | Values::Interval(_)
                | Values::Duration(_)
                | Values::List { .. }
                | Values::Json(_),
                _,
            ) => {
                for (row, field) in rows.iter_mut().zip(rendered.fields()) {
                    let room = out.get_mut(row.at..row.end).ok_or(EncodeError::Shape)?;
                    row.at += copy(field, room)?;
                }
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn put<T>(
        &self,
        from: usize,
        rows: &mut [Place],
        values: impl Iterator<Item = T>,
        out: &mut [u8],
        write: impl Fn(T, &mut [u8]) -> Written,
    ) -> Encoded {
        let nulls = self.nulls.as_ref();
        for ((row, value), index) in rows.iter_mut().zip(values).zip(from..) {
            let room = out.get_mut(row.at..row.end).ok_or(EncodeError::Shape)?;
            let is_null = nulls.is_some_and(|nulls| nulls.is_null(index));
            row.at += if is_null { store(room, [0xff; 4])? } else { write(value, room)? };
        }
        Ok(())
    }
}

fn of<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, from: usize) -> impl Iterator<Item = T::Native> {
    array.values().get(from..).unwrap_or_default().iter().copied()
}

fn views<T: ByteViewType>(array: &GenericByteViewArray<T>, from: usize) -> impl Iterator<Item = u128> {
    array.views().get(from..).unwrap_or_default().iter().copied()
}

#[inline]
fn store<const N: usize>(room: &mut [u8], bytes: [u8; N]) -> Written {
    *room.first_chunk_mut().ok_or(EncodeError::Shape)? = bytes;
    Ok(N)
}

/// Short values by two stores that overlap, which costs less than a call.
#[inline(always)]
fn copy(bytes: &[u8], room: &mut [u8]) -> Written {
    let room = room.get_mut(..bytes.len()).ok_or(EncodeError::Shape)?;
    match bytes.len() {
        8..=16 => ends::<8>(bytes, room),
        17..=32 => ends::<16>(bytes, room),
        33..=64 => ends::<32>(bytes, room),
        _ => None,
    }
    .unwrap_or_else(|| room.copy_from_slice(bytes));
    Ok(bytes.len())
}

/// Copies the first and the last bytes of something not longer than both together.
#[inline]
fn ends<const N: usize>(bytes: &[u8], room: &mut [u8]) -> Option<()> {
    *room.first_chunk_mut::<N>()? = *bytes.first_chunk()?;
    *room.last_chunk_mut::<N>()? = *bytes.last_chunk()?;
    Some(())
}

/// Stores a field with all that is behind it, if there is room for that.
#[inline(always)]
fn store_wide<const N: usize>(wide: [u8; N], length: usize, room: &mut [u8]) -> Written {
    match room.first_chunk_mut() {
        Some(room) => *room = wide,
        None => {
            copy(wide.get(..length).ok_or(EncodeError::Shape)?, room)?;
        }
    }
    Ok(length)
}

#[inline]
fn four([a, b, c, d]: [u8; 4], room: &mut [u8]) -> Written {
    store(room, [0, 0, 0, 4, a, b, c, d])
}

#[inline]
fn eight([a, b, c, d, e, f, g, h]: [u8; 8], room: &mut [u8]) -> Written {
    store(room, [0, 0, 0, 8, a, b, c, d, e, f, g, h])
}

/// The length, and the room behind it.
#[inline]
fn headed(length: usize, room: &mut [u8]) -> Result<&mut [u8], EncodeError> {
    let length = u32::try_from(length).map_err(|_| EncodeError::TooLong)?;
    let (head, rest) = room.split_first_chunk_mut().ok_or(EncodeError::Shape)?;
    *head = length.to_be_bytes();
    Ok(rest)
}

#[inline(always)]
fn bytes(value: &[u8], room: &mut [u8]) -> Written {
    Ok(4 + copy(value, headed(value.len(), room)?)?)
}

/// The lowest word of a view.
#[inline]
fn length_of(view: u128) -> usize {
    (view & 0xffff_ffff) as usize
}

/// A value that is in the view itself, if there is room for all that a view holds.
#[inline(always)]
fn short(view: u128, room: &mut [u8]) -> Option<usize> {
    let length = length_of(view);
    if length > INLINE {
        return None;
    }
    // Only the length has to be turned round.
    *room.first_chunk_mut()? = field(length as u32, view >> 32);
    Some(4 + length)
}

/// A length and at most twelve bytes, in one piece: made byte by byte, they would have to be stored before they can be
/// loaded as one.
#[inline(always)]
fn field(length: u32, bytes: u128) -> [u8; 16] {
    (u128::from(length.swap_bytes()) | bytes << 32).to_le_bytes()
}

/// How many digits a number has, by Kendall Willets: what the table has for its highest bit carries into the upper half as
/// often as it is long.
#[inline(always)]
fn digits(word: u64) -> usize {
    #[rustfmt::skip]
    const CARRY: [u64; 32] = [
        0x100000000, 0x100000000, 0x100000000, 0x1fffffff6,
        0x200000000, 0x200000000, 0x2ffffff9c, 0x300000000,
        0x300000000, 0x3fffffc18, 0x400000000, 0x400000000,
        0x400000000, 0x4ffffd8f0, 0x500000000, 0x500000000,
        0x5fffe7960, 0x600000000, 0x600000000, 0x6fff0bdc0,
        0x700000000, 0x700000000, 0x700000000, 0x7ff676980,
        0x800000000, 0x800000000, 0x8fa0a1f00, 0x900000000,
        0x900000000, 0x9c4653600, 0xa00000000, 0xa00000000,
    ];
    match u32::try_from(word) {
        Ok(short) => {
            let carry = CARRY.get((short | 1).ilog2() as usize).copied().unwrap_or(0);
            (u64::from(short).wrapping_add(carry) >> 32) as usize
        }
        Err(_) => word.ilog10() as usize + 1,
    }
}

/// Eight decimal digits, the first one in the lowest byte: three steps halve the number each, on all parts at once (Paul
/// Khuong, "How to print integers really fast").
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    let (high, low) = (u64::from(number / 10_000), u64::from(number % 10_000));
    let halves = high | low << 32;
    let hundreds = (halves.wrapping_mul(10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | halves.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    tens | pairs.wrapping_sub(tens.wrapping_mul(10)) << 8
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A number that is not negative and has at most eight digits.
#[inline]
fn short_number<T: TryInto<u32>>(value: T) -> Option<u32> {
    value.try_into().ok().filter(|number| *number < 100_000_000)
}

#[inline]
fn integer_length(value: i64) -> usize {
    usize::from(value < 0) + digits(value.unsigned_abs())
}

#[inline(always)]
fn integer(value: i64, room: &mut [u8]) -> Written {
    let Some(number) = short_number(value) else {
        return bytes(itoa::Buffer::new().format(value).as_bytes(), room);
    };
    let digits = eight_digits(number);
    // The last one is shown even if it is 0.
    let hidden = (digits | 1 << 56).trailing_zeros() / 8;
    let length = 8 - hidden;
    store_wide(field(length, u128::from((digits | ZEROS) >> (8 * hidden))), 4 + length as usize, room)
}

#[inline]
fn decimal_length(unscaled: i128, places: usize) -> usize {
    let digits = match u64::try_from(unscaled.unsigned_abs()) {
        Ok(word) => digits(word),
        Err(_) => unscaled.unsigned_abs().ilog10() as usize + 1,
    };
    usize::from(unscaled < 0) + digits.max(places + 1) + 1
}

/// A number with so many places behind the point, which are less than eight.
#[inline(always)]
fn decimal(unscaled: i128, places: u32, room: &mut [u8]) -> Written {
    let Some(number) = short_number(unscaled) else {
        let mut text = Vec::new();
        numeric::text(unscaled, i8::try_from(places).map_err(|_| EncodeError::Shape)?, &mut text);
        return bytes(&text, room);
    };
    let digits = eight_digits(number);
    // One digit before the point is shown even if it is 0.
    let hidden = (digits | 1 << (8 * (7 - places))).trailing_zeros() / 8;
    let before = 8 - places - hidden;
    let text = digits | ZEROS;
    let behind = (text >> (8 * (8 - places))) << 8 | u64::from(b'.');
    // What is before the point takes at most seven bytes.
    let shown = (text >> (8 * hidden)) & ((1 << (8 * before)) - 1);
    let all = u128::from(shown) | u128::from(behind) << (8 * before);
    let length = before + 1 + places;
    store_wide(field(length, all), 4 + length as usize, room)
}

/// How decimals of one scale go into groups of four digits.
#[derive(Clone, Copy)]
struct Shape {
    scale: u8,
    /// Makes the part behind the point whole groups.
    factor: u64,
    /// Groups behind the point.
    behind: i16,
}

impl Shape {
    fn of(scale: i8) -> Self {
        let scale = scale.unsigned_abs();
        Self { scale, factor: 10_u64.pow(u32::from((4 - scale % 4) % 4)), behind: i16::from(scale.div_ceil(4)) }
    }

    /// The number in units of the last group, when a word holds it.
    #[inline]
    fn word(self, unscaled: i128) -> Option<u64> {
        u64::try_from(unscaled.unsigned_abs()).ok()?.checked_mul(self.factor)
    }

    /// Groups of four digits in groups of bits.
    #[inline(always)]
    fn groups(word: u64) -> u128 {
        let (upper, low) = (word / 10_000, word % 10_000);
        let (upper, middle) = (upper / 10_000, upper % 10_000);
        if upper < 10_000 {
            return u128::from(upper << 32 | middle << 16 | low);
        }
        let (highest, high) = (upper / 10_000, upper % 10_000);
        let (top, highest) = (highest / 10_000, highest % 10_000);
        u128::from(top) << 64 | u128::from(highest << 48 | high << 32 | middle << 16 | low)
    }

    /// The first group that is not 0 and the last one, counted from the last of all, when there is one.
    #[inline]
    fn ends(groups: u128) -> (u32, u32) {
        (groups.ilog2() / 16, groups.trailing_zeros() / 16)
    }

    #[inline(always)]
    fn length(self, unscaled: i128) -> usize {
        match self.word(unscaled) {
            Some(0) => 8,
            Some(word) => {
                let (first, last) = Self::ends(Self::groups(word));
                8 + 2 * (first - last + 1) as usize
            }
            // It fails again when it is written.
            None => self.long(unscaled).map_or(0, |field| field.len()),
        }
    }

    #[cold]
    fn long(self, unscaled: i128) -> Result<Vec<u8>, EncodeError> {
        let mut field = Vec::new();
        numeric::binary(unscaled, i8::try_from(self.scale).map_err(|_| EncodeError::Shape)?, &mut field)?;
        Ok(field)
    }

    #[inline(always)]
    fn write(self, unscaled: i128, room: &mut [u8]) -> Written {
        let (count, weight, groups) = match self.word(unscaled) {
            Some(0) => (0, 0, 0),
            Some(word) => {
                let groups = Self::groups(word);
                let (first, last) = Self::ends(groups);
                let count = first - last + 1;
                // At most five groups, so neither shift is as long as the number.
                (count, first as i16 - self.behind, (groups >> (16 * last)) << (128 - 16 * count))
            }
            None => return bytes(&self.long(unscaled)?, room),
        };
        let (length, weight) = (8 + 2 * count, u64::from(weight.cast_unsigned()));
        let front = u64::from(length) << 32 | u64::from(count) << 16 | weight;
        let middle = (if unscaled < 0 { 0x4000_0000 } else { 0 }) | u32::from(self.scale);
        let length = 4 + length as usize;
        let mut short = [0; 28];
        let exact = room.len() < short.len();
        let wide = if exact { &mut short } else { room.first_chunk_mut().ok_or(EncodeError::Shape)? };
        wide[..8].copy_from_slice(&front.to_be_bytes());
        wide[8..12].copy_from_slice(&middle.to_be_bytes());
        wide[12..].copy_from_slice(&groups.to_be_bytes());
        if exact {
            copy(short.get(..length).ok_or(EncodeError::Shape)?, room)?;
        }
        Ok(length)
    }
}

#[inline]
fn date_length(days: i32) -> usize {
    if PLAIN_DAYS.contains(&days) { 10 } else { odd_date(days).len() }
}

#[cold]
fn odd_date(days: i32) -> Vec<u8> {
    let mut text = Vec::new();
    time::date_text(days, &mut text);
    text
}

/// Cassio Neri and Lorenz Schneider, "Euclidean affine functions and their application to calendar algorithms": years
/// begin in March.
#[inline(always)]
fn date(days: i32, room: &mut [u8]) -> Written {
    if !PLAIN_DAYS.contains(&days) {
        return bytes(&odd_date(days), room);
    }
    // Days from the first of March of year 0.
    let days = (days + 719_468).cast_unsigned();
    let of_century = 4 * days + 3;
    let century = of_century / 146_097;
    let of_year = 4 * (of_century % 146_097 / 4) + 3;
    let product = 2_939_745 * u64::from(of_year);
    let year = 100 * century + (product >> 32) as u32;
    let day_of_year = (product & 0xffff_ffff) as u32 / 2_939_745 / 4;
    let of_month = 2_141 * day_of_year + 197_913;
    let (month, day) = (of_month >> 16, (of_month & 0xffff) / 2_141 + 1);
    let next = day_of_year >= 306;
    let (year, month) = if next { (year + 1, month - 12) } else { (year, month) };
    let digits = u128::from(eight_digits(year * 10_000 + month * 100 + day) | ZEROS);
    let (years, months, days) = (digits & 0xffff_ffff, digits >> 32 & 0xffff, digits >> 48);
    let dash = u128::from(b'-');
    store_wide(field(10, years | dash << 32 | months << 40 | dash << 56 | days << 64), 14, room)
}

#[cfg(test)]
mod tests;
