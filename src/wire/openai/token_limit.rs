//! Limits of generated tokens. Many local servers take -1 for none.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::wire::MessagesRequest;

/// Reads a limit; -1 is read as if none was given.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(limit_or_all(deserializer)?.filter(|limit| *limit != MessagesRequest::AS_MANY_AS_FIT))
}

/// Reads a limit that has a default where none is given; -1 is read as [`MessagesRequest::AS_MANY_AS_FIT`].
pub(super) fn limit_or_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        None => Ok(None),
        Some(-1) => Ok(Some(MessagesRequest::AS_MANY_AS_FIT)),
        Some(given) => {
            let limit = u32::try_from(given).map_err(|_| D::Error::custom(format!("{given} is not a number of tokens")))?;
            Ok(Some(limit))
        }
    }
}
