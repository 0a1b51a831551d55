use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A numbered policy snapshot. Every change of state makes the next one; numbers never repeat.
    Epoch, u64
);
number_id!(
    /// A registered data source. Never used again after the source is gone.
    SourceId, u32
);
number_id!(
    /// A column of one data source. Kept when the column is renamed, never used again when it is dropped.
    ColumnId, u32
);
number_id!(
    /// A saved policy, in the order of authoring: a lower id is an older policy.
    PolicyId, u32
);

/// One statement of one actor, as it appears in refusals, logs and the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub uuid::Uuid);

impl RequestId {
    /// A new id; ids sort by the time they were made.
    pub fn new_at(unix_ms: u64) -> Self {
        let seconds = unix_ms / 1000;
        let nanos = u32::try_from(unix_ms % 1000).unwrap_or(0) * 1_000_000;
        let at = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
        Self(uuid::Uuid::new_v7(at))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}
