//! Content blocks: what messages, system prompts and tool results are made of.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::TokenLogprob;
use super::nullable::null_is_default;

/// A message's content: one text, or content blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Blocks(Vec<ContentBlock>),
}

impl Content {
    /// The content as blocks: a plain text becomes one text block.
    pub fn blocks(&self) -> Cow<'_, [ContentBlock]> {
        match self {
            Self::Text(text) => Cow::Owned(vec![ContentBlock::text(text)]),
            Self::Blocks(blocks) => Cow::Borrowed(blocks),
        }
    }

    /// The blocks that were sent as such, for whoever looks for blocks other than text; none of a plain text.
    pub fn listed(&self) -> &[ContentBlock] {
        match self {
            Self::Text(_) => &[],
            Self::Blocks(blocks) => blocks,
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList::<Self, ContentBlock>::of("a string or a list of content blocks"))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<ContentBlock>> for Content {
    fn from(blocks: Vec<ContentBlock>) -> Self {
        Self::Blocks(blocks)
    }
}

/// Deserializes a string or a list. Unlike a derived untagged enum, its error says which item is wrong and why.
pub(super) struct TextOrList<T, Item> {
    expecting: &'static str,
    target: PhantomData<(T, Item)>,
}

impl<T, Item> TextOrList<T, Item> {
    /// A visitor whose errors name what was expected.
    pub(super) fn of(expecting: &'static str) -> Self {
        Self { expecting, target: PhantomData }
    }
}

impl<'de, Item: Deserialize<'de>, T: From<String> + From<Vec<Item>>> Visitor<'de> for TextOrList<T, Item> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<T, E> {
        Ok(T::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        Vec::<Item>::deserialize(SeqAccessDeserializer::new(items)).map(T::from)
    }
}

/// A content block, in requests and answers.
///
/// The types that anyclaude has a use for are variants. A block of any other type is kept as it came, so that a session goes on
/// and a trace stays whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
pub enum ContentBlock {
    Text {
        text: String,
        /// Log-probabilities of an answer's tokens, if the request asked for them.
        #[serde(skip)]
        logprobs: Vec<TokenLogprob>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    Image {
        source: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A file, such as a PDF.
    Document {
        source: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Content>,
        #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// In the result of Claude Code's `ToolSearch`: a tool it found. From then on it is among the request's tools.
    ToolReference {
        tool_name: String,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// In a system message: from here on the model may call one more tool, which is defined here or among the request's tools.
    ToolAddition {
        tool: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// In a system message: from here on the model may not call this tool.
    ToolRemoval {
        tool: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    Thinking {
        thinking: String,
        #[serde(default, deserialize_with = "null_is_default")]
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    /// A block of another type, with all its fields.
    #[serde(skip)]
    Other(Map<String, Value>),
}

/// The types of [`ContentBlock`]'s variants.
const KNOWN_TYPES: [&str; 10] = [
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "tool_reference",
    "tool_addition",
    "tool_removal",
    "thinking",
    "redacted_thinking",
];

impl<'de> Deserialize<'de> for ContentBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::<String, Value>::deserialize(deserializer)?;
        match fields.get("type") {
            Some(Value::String(kind)) if KNOWN_TYPES.contains(&kind.as_str()) => {
                // The derived function of the same name.
                Self::deserialize(Value::Object(fields)).map_err(D::Error::custom)
            }
            Some(Value::String(_)) => Ok(Self::Other(fields)),
            Some(other) => Err(D::Error::invalid_type(unexpected(other), &"a string")),
            None => Err(D::Error::missing_field("type")),
        }
    }
}

/// A JSON value as errors speak of it.
pub(super) fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

impl Serialize for ContentBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(fields) => fields.serialize(serializer),
            // The derived function of the same name.
            known => Self::serialize(known, serializer),
        }
    }
}

impl ContentBlock {
    /// A text block without extra fields.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), logprobs: Vec::new(), extra: Map::new() }
    }

    /// The block's `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Document { .. } => "document",
            Self::ToolUse { .. } => "tool_use",
            Self::ToolResult { .. } => "tool_result",
            Self::ToolReference { .. } => "tool_reference",
            Self::ToolAddition { .. } => "tool_addition",
            Self::ToolRemoval { .. } => "tool_removal",
            Self::Thinking { .. } => "thinking",
            Self::RedactedThinking { .. } => "redacted_thinking",
            Self::Other(fields) => fields.get("type").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// The fields that have no place of their own in the variant; of an unknown block all fields.
    pub fn extra(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Text { extra, .. }
            | Self::Image { extra, .. }
            | Self::Document { extra, .. }
            | Self::ToolUse { extra, .. }
            | Self::ToolResult { extra, .. }
            | Self::ToolReference { extra, .. }
            | Self::ToolAddition { extra, .. }
            | Self::ToolRemoval { extra, .. }
            | Self::Other(extra) => Some(extra),
            Self::Thinking { .. } | Self::RedactedThinking { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::InputMessage;
    use serde_json::json;

    fn message(content: Value) -> Result<InputMessage, String> {
        // From text, as a server reads it: parsing a `Value` gives other errors.
        let text = json!({"role": "user", "content": content}).to_string();
        serde_json::from_str(&text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_the_client_sends_survives_a_round_trip() {
        for content in [
            json!("Read hello.txt"),
            json!([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]),
            json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1\thi"}]),
            json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "tool_reference", "tool_name": "WebFetch"}]}]),
            json!([{"type": "tool_result", "tool_use_id": "toolu_1",
                    "content": [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}]),
            json!([{"type": "hologram", "depth": 3, "cache_control": {"type": "ephemeral"}}]),
            json!([{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "Read"}}]),
        ] {
            let message = message(content.clone()).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap()["content"], content);
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_with_the_block() {
        let contents = [json!([{"type": 7}]), json!(["hi"]), json!([{"type": "text"}]), json!([{"text": "hi"}]), json!(7)];
        insta::assert_snapshot!(contents.map(|content| format!("{content}: {}", message(content.clone()).unwrap_err())).join("\n"), @r#"
        [{"type":7}]: invalid type: number, expected a string at line 1 column 37
        ["hi"]: invalid type: string "hi", expected a map at line 1 column 30
        [{"type":"text"}]: missing field `text` at line 1 column 42
        [{"text":"hi"}]: missing field `type` at line 1 column 40
        7: invalid type: integer `7`, expected a string or a list of content blocks at line 1 column 26
        "#);
    }
}
