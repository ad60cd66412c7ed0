//! A content that is one text, or a list of parts.

use serde::{Deserialize, Deserializer, Serialize};

use crate::wire::content::TextOrList;

/// The content of a message: one text, or content parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TextOrParts<Part> {
    Text(String),
    Parts(Vec<Part>),
}

impl<'de, Part: Deserialize<'de>> Deserialize<'de> for TextOrParts<Part> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList::<Self, Part>::of("a string or a list of content parts"))
    }
}

/// Reads `null`, which a tool without output gives, as an empty text.
pub(super) fn null_is_no_text<'de, Part: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TextOrParts<Part>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(|| TextOrParts::Text(String::new())))
}

impl<Part> From<String> for TextOrParts<Part> {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<Part> From<Vec<Part>> for TextOrParts<Part> {
    fn from(parts: Vec<Part>) -> Self {
        Self::Parts(parts)
    }
}
