//! Hashing of whole arrays.
#![expect(clippy::wildcard_enum_match_arm, reason = "a closed list of types: every other one is refused")]

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait, StringViewArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use weir_mask::HashToken;
use weir_model::Secret;

/// Hex digits of a token.
const TOKEN_BYTES: usize = 64;
/// How many values of a batch are looked at to find out whether they repeat.
const SAMPLE: usize = 256;

/// The keyed state, prepared once.
#[derive(Clone, Debug)]
pub(super) struct Hasher(HashToken);

impl Hasher {
    pub(super) fn new(key: &Secret) -> Self {
        Self(HashToken::new(key))
    }

    fn token(&self, value: &str) -> [u8; TOKEN_BYTES] {
        self.0.token(value)
    }

    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match array.data_type() {
            DataType::Utf8 => self.offsets::<i32>(array),
            DataType::LargeUtf8 => self.offsets::<i64>(array),
            DataType::Utf8View => self.views(array.as_string_view()),
            other => Err(ArrowError::InvalidArgumentError(format!("hash mask on {other}"))),
        }
    }

    fn offsets<O: OffsetSizeTrait>(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let array = array.as_string::<O>();
        let mut bytes = Vec::with_capacity(array.len() * TOKEN_BYTES);
        let mut lengths = Vec::with_capacity(array.len());
        for value in array {
            lengths.push(if value.is_some() { TOKEN_BYTES } else { 0 });
            if let Some(value) = value {
                bytes.extend_from_slice(&self.token(value));
            }
        }
        let offsets = OffsetBuffer::<O>::from_lengths(lengths);
        Ok(Arc::new(GenericStringArray::<O>::try_new(offsets, Buffer::from_vec(bytes), array.nulls().cloned())?))
    }

    /// Equal values of a batch share one token, computed once when they are seen to repeat.
    fn views(&self, array: &StringViewArray) -> Result<ArrayRef, ArrowError> {
        let mut bytes: Vec<u8> = Vec::with_capacity(array.len() * TOKEN_BYTES);
        let mut views: Vec<u128> = Vec::with_capacity(array.len());
        let mut push = |value: &str| {
            let token = self.token(value);
            let offset = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&token);
            datafusion::arrow::array::make_view(&token, 0, offset)
        };
        if repeats(array) {
            let mut known: HashMap<&str, u128> = HashMap::new();
            for value in array {
                views.push(value.map_or(0, |value| *known.entry(value).or_insert_with(|| push(value))));
            }
        } else {
            for value in array {
                views.push(value.map_or(0, &mut push));
            }
        }
        let blocks = vec![Buffer::from_vec(bytes)];
        Ok(Arc::new(StringViewArray::try_new(ScalarBuffer::from(views), blocks, array.nulls().cloned())?))
    }
}

fn repeats(array: &StringViewArray) -> bool {
    let sample = array.len().min(SAMPLE);
    let mut seen: Vec<&str> = array.iter().take(sample).flatten().collect();
    seen.sort_unstable();
    seen.dedup();
    sample > 16 && seen.len() * 2 < sample
}
