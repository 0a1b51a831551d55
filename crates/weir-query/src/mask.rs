//! Column masks over Arrow arrays. NULL stays NULL under all but the constant; the array's type never changes.
#![expect(clippy::wildcard_enum_match_arm, reason = "closed lists of types: every other one is refused")]

mod bucket;
mod calendar;
mod elements;
mod hash;
mod randomized;
mod round;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, GenericStringBuilder, OffsetSizeTrait, PrimitiveArray,
    StringViewBuilder, new_null_array,
};
use datafusion::arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use regex::{Regex, RegexBuilder};
use weir_mask::{FormatPreserving, Keys, Randomizer, Reversible};
use weir_model::{ColumnId, Secret};
use weir_policy::Mask;
use weir_policy::ast::RoundTo;

use crate::lower::scalar;
use crate::row_key::RowKeys;
pub(crate) use bucket::Bucket;
pub(crate) use elements::{Elements, relaxed, relaxed_type};
use hash::Hasher;
use randomized::RandomizedMask;
use round::NumberRounding;

/// A mask that does not fit the column it is for; a policy check should have refused it.
#[derive(Debug, thiserror::Error)]
#[error("mask {mask} does not fit a column of type {data_type}")]
pub(crate) struct UnfitMask {
    mask: &'static str,
    data_type: String,
}

/// A mask made ready for one column. `Debug` shows no key.
#[derive(Clone, Debug)]
pub(crate) struct CompiledMask {
    kind: Kind,
    data_type: DataType,
}

#[derive(Clone, Debug)]
enum Kind {
    Hash(Hasher),
    Null,
    Constant(ScalarValue),
    RoundNumber(NumberRounding),
    RoundCalendar(weir_policy::ast::CalendarUnit),
    Regex {
        pattern: Arc<Regex>,
        replacement: Arc<str>,
        global: bool,
    },
    Reversible(Reversible),
    FormatPreserving(Arc<FormatPreserving>),
    Randomized(RandomizedMask),
    /// Each element of a list by itself.
    Elements(Box<CompiledMask>),
}

/// A mask without a key that acts on one value.
pub(crate) enum PlainMask<'a> {
    Null(&'a DataType),
    Constant(&'a ScalarValue),
    /// Down to a multiple, in units of the last digit.
    RoundDecimal(i128),
}

/// The keys that the masks of a source need; those that none of them needs are absent.
#[derive(Default)]
pub(crate) struct MaskKeys {
    /// Of the scope that hash masks have.
    pub(crate) hash: Option<Secret>,
    /// Of the source.
    pub(crate) own: Option<Arc<Keys>>,
}

/// Compiled regular expressions are refused beyond this size, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl CompiledMask {
    /// `data_type` is that of `column` in the raw scan. A computed mask is none of these.
    pub(crate) fn new(mask: &Mask, column: ColumnId, data_type: &DataType, keys: &MaskKeys) -> Result<Self, UnfitMask> {
        if let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = data_type
            && *mask != Mask::Null
        {
            let elements = Self::new(mask, column, item.data_type(), keys)?;
            return Ok(Self { kind: Kind::Elements(Box::new(elements)), data_type: data_type.clone() });
        }
        let unfit = |mask| move || UnfitMask { mask, data_type: data_type.to_string() };
        let text = is_text(data_type);
        let own = |mask| keys.own.as_deref().ok_or_else(unfit(mask));
        let kind = match mask {
            Mask::Hash => {
                let key = keys.hash.as_ref().filter(|_| text).ok_or_else(unfit("hash"))?;
                Kind::Hash(Hasher::new(key))
            }
            Mask::Reversible if text => Kind::Reversible(Reversible::new(own("reversible")?, column)),
            Mask::Reversible => return Err(unfit("reversible")()),
            Mask::FormatPreserving => match data_type {
                DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {
                    Kind::FormatPreserving(Arc::new(FormatPreserving::new(own("format preserving")?, column)))
                }
                _ if text => Kind::FormatPreserving(Arc::new(FormatPreserving::new(own("format preserving")?, column))),
                _ => return Err(unfit("format preserving")()),
            },
            Mask::Randomized { how, row_key: _ } => {
                let randomizer = Randomizer::new(own("randomised response")?, column);
                let mask = RandomizedMask::new(how, data_type, randomizer);
                Kind::Randomized(mask.ok_or_else(unfit("randomised response"))?)
            }
            Mask::Computed(_) => return Err(unfit("computed")()),
            Mask::Null => Kind::Null,
            Mask::Constant(value) => Kind::Constant(scalar(value, data_type).ok_or_else(unfit("constant"))?),
            Mask::Round(RoundTo::Number(bucket)) => {
                Kind::RoundNumber(NumberRounding::new(bucket, data_type).ok_or_else(unfit("round"))?)
            }
            Mask::Round(RoundTo::Calendar(unit)) => {
                if !matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)) {
                    return Err(unfit("round")());
                }
                Kind::RoundCalendar(*unit)
            }
            Mask::Regex { pattern, replacement, case_insensitive, global } => {
                if !text {
                    return Err(unfit("regex")());
                }
                let pattern = RegexBuilder::new(pattern)
                    .case_insensitive(*case_insensitive)
                    .size_limit(REGEX_BYTES_MAX)
                    .build()
                    .map_err(|_| unfit("regex")())?;
                Kind::Regex { pattern: Arc::new(pattern), replacement: replacement.as_str().into(), global: *global }
            }
        };
        Ok(Self { kind, data_type: data_type.clone() })
    }

    /// Rounding alone.
    pub(crate) fn rounding(to: &RoundTo, data_type: &DataType) -> Result<Self, UnfitMask> {
        Self::new(&Mask::Round(to.clone()), ColumnId(0), data_type, &MaskKeys::default())
    }

    /// Whether the value alone decides what it becomes, so that the mask may wait.
    pub(crate) fn can_wait(&self) -> bool {
        match self.kind {
            Kind::Hash(_) | Kind::Reversible(_) | Kind::FormatPreserving(_) | Kind::Regex { .. } => true,
            // Nothing is read for the first two, and rounding costs less than what waiting could save.
            Kind::Null | Kind::Constant(_) | Kind::RoundNumber(_) | Kind::RoundCalendar(_) => false,
            Kind::Randomized(_) | Kind::Elements(_) => false,
        }
    }

    /// Whether exactly the NULLs are NULL afterwards.
    pub(crate) fn keeps_nulls(&self) -> bool {
        match self.kind {
            Kind::Hash(_) | Kind::Reversible(_) | Kind::Regex { .. } => true,
            // What cannot be encrypted in its format becomes NULL.
            Kind::FormatPreserving(_) => false,
            Kind::Null
            | Kind::Constant(_)
            | Kind::RoundNumber(_)
            | Kind::RoundCalendar(_)
            | Kind::Randomized(_)
            | Kind::Elements(_) => false,
        }
    }

    /// Whether different originals always give different texts, but for the negligible chance of two equal hashes.
    pub(crate) fn is_injective(&self) -> bool {
        match self.kind {
            Kind::Hash(_) | Kind::Reversible(_) => true,
            Kind::FormatPreserving(_)
            | Kind::Null
            | Kind::Constant(_)
            | Kind::RoundNumber(_)
            | Kind::RoundCalendar(_)
            | Kind::Regex { .. }
            | Kind::Randomized(_)
            | Kind::Elements(_) => false,
        }
    }

    /// Whether the original values are needed at all.
    pub(crate) fn reads_values(&self) -> bool {
        !matches!(self.kind, Kind::Null | Kind::Constant(_))
    }

    /// What the mask does in words that other engines may know too.
    pub(crate) fn plain(&self) -> Option<PlainMask<'_>> {
        match &self.kind {
            Kind::Null => Some(PlainMask::Null(&self.data_type)),
            Kind::Constant(value) => Some(PlainMask::Constant(value)),
            Kind::RoundNumber(NumberRounding::Whole(bucket)) if matches!(self.data_type, DataType::Decimal128(..)) => {
                Some(PlainMask::RoundDecimal(*bucket))
            }
            Kind::Hash(_)
            | Kind::RoundNumber(_)
            | Kind::RoundCalendar(_)
            | Kind::Regex { .. }
            | Kind::Reversible(_)
            | Kind::FormatPreserving(_)
            | Kind::Randomized(_)
            | Kind::Elements(_) => None,
        }
    }

    /// The masked values of `rows` rows, where the original values are not needed.
    pub(crate) fn without_values(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        match &self.kind {
            Kind::Null => Ok(new_null_array(&self.data_type, rows)),
            Kind::Constant(value) => value.to_array_of_size(rows).map_err(|e| ArrowError::ComputeError(e.to_string())),
            _ => Err(ArrowError::ComputeError("this mask needs the original values".to_owned())),
        }
    }

    /// `row_key` are the key columns of the same rows; empty for masks that are not keyed by row.
    pub(crate) fn apply(&self, values: &ArrayRef, row_key: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
        match &self.kind {
            Kind::Reversible(reversible) => {
                map_text(values, &mut |array| replace_text(array, |text| Some(Cow::Owned(reversible.mask(text)))))
            }
            Kind::FormatPreserving(encrypt) => match values.data_type() {
                DataType::Int32 => Ok(whole::<Int32Type>(values, encrypt, i32::MIN.into()..=i32::MAX.into())),
                DataType::Int64 => Ok(whole::<Int64Type>(values, encrypt, i64::MIN.into()..=i64::MAX.into())),
                DataType::UInt32 => Ok(whole::<UInt32Type>(values, encrypt, u32::MIN.into()..=u32::MAX.into())),
                DataType::UInt64 => Ok(whole::<UInt64Type>(values, encrypt, u64::MIN.into()..=u64::MAX.into())),
                _ => map_text(values, &mut |array| replace_text(array, |text| encrypt.mask(text).map(Cow::Owned))),
            },
            Kind::Randomized(mask) => mask.apply(values, &RowKeys::new(row_key)?),
            Kind::Elements(mask) => match Elements::of(values)? {
                Some(elements) => {
                    let masked = mask.apply(&elements.values, &elements.row_key(row_key)?)?;
                    Elements::back(values, masked)
                }
                None => Err(ArrowError::InvalidArgumentError(format!("elements of {}", values.data_type()))),
            },
            Kind::Null | Kind::Constant(_) => self.without_values(values.len()),
            Kind::Hash(hasher) => map_text(values, &mut |array| hasher.apply(array)),
            Kind::RoundNumber(rounding) => rounding.apply(values),
            Kind::RoundCalendar(unit) => calendar::round(values, *unit),
            Kind::Regex { pattern, replacement, global } => map_text(values, &mut |array| {
                let limit = usize::from(!global);
                replace_text(array, |text| Some(pattern.replacen(text, limit, replacement.as_ref())))
            }),
        }
    }
}

fn whole<T: ArrowPrimitiveType>(values: &ArrayRef, encrypt: &FormatPreserving, range: RangeInclusive<i128>) -> ArrayRef
where
    T::Native: Into<i128> + TryFrom<i128>,
{
    let values: &PrimitiveArray<T> = values.as_primitive();
    let masked: PrimitiveArray<T> =
        values.iter().map(|value| T::Native::try_from(encrypt.mask_int(value?.into(), range.clone())?).ok()).collect();
    Arc::new(masked.with_data_type(values.data_type().clone()))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_text(value),
        other => matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

/// Applies `mask` to the values of a dictionary once each, or to the array itself.
fn map_text(
    array: &ArrayRef,
    mask: &mut dyn FnMut(&ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    fn dictionary<K: ArrowDictionaryKeyType>(
        array: &ArrayRef,
        mask: &mut dyn FnMut(&ArrayRef) -> Result<ArrayRef, ArrowError>,
    ) -> Result<ArrayRef, ArrowError> {
        let array = array.as_dictionary::<K>();
        let values = mask(array.values())?;
        Ok(Arc::new(DictionaryArray::<K>::try_new(array.keys().clone(), values)?))
    }
    let DataType::Dictionary(key, _) = array.data_type() else { return mask(array) };
    match key.as_ref() {
        DataType::Int8 => dictionary::<Int8Type>(array, mask),
        DataType::Int16 => dictionary::<Int16Type>(array, mask),
        DataType::Int32 => dictionary::<Int32Type>(array, mask),
        DataType::Int64 => dictionary::<Int64Type>(array, mask),
        DataType::UInt8 => dictionary::<UInt8Type>(array, mask),
        DataType::UInt16 => dictionary::<UInt16Type>(array, mask),
        DataType::UInt32 => dictionary::<UInt32Type>(array, mask),
        DataType::UInt64 => dictionary::<UInt64Type>(array, mask),
        other => Err(ArrowError::InvalidArgumentError(format!("dictionary keys of type {other}"))),
    }
}

fn replace_text<'a>(
    array: &'a ArrayRef,
    replace: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> Result<ArrayRef, ArrowError> {
    fn offsets<'a, O: OffsetSizeTrait>(
        array: &'a ArrayRef,
        replace: impl Fn(&'a str) -> Option<Cow<'a, str>>,
    ) -> ArrayRef {
        let mut builder = GenericStringBuilder::<O>::with_capacity(array.len(), array.len() * 16);
        array.as_string::<O>().iter().for_each(|text| builder.append_option(text.and_then(&replace)));
        Arc::new(builder.finish())
    }
    match array.data_type() {
        DataType::Utf8 => Ok(offsets::<i32>(array, replace)),
        DataType::LargeUtf8 => Ok(offsets::<i64>(array, replace)),
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::with_capacity(array.len());
            array.as_string_view().iter().for_each(|text| builder.append_option(text.and_then(&replace)));
            Ok(Arc::new(builder.finish()))
        }
        other => Err(ArrowError::InvalidArgumentError(format!("text mask on {other}"))),
    }
}

#[cfg(test)]
mod tests;
