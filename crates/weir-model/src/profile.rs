use serde::{Deserialize, Serialize};

use crate::value::Value;

/// What a column held when somebody last looked at all its rows. Of texts and the like no value is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// How many rows there were.
    pub rows: u64,
    /// In how many of them the column was NULL.
    pub nulls: u64,
    /// How many different values there were besides NULL; absent where they cannot be told apart.
    #[serde(default)]
    pub distinct: Option<u64>,
    /// Of numbers, dates and timestamps, when there was any that is finite.
    #[serde(default)]
    pub least: Option<Value>,
    /// As `least`.
    #[serde(default)]
    pub greatest: Option<Value>,
}
