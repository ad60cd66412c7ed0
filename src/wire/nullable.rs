//! Fields for which clients and servers may write `null` where they have nothing to say.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the type's default.
pub(super) fn null_is_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
