//! The bodies of `POST /v1/messages` and `/v1/messages/count_tokens`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The body of `POST /v1/messages`. Fields that nothing here reads are kept in `extra`, so a body survives a round trip.
///
/// ```
/// use anyclaude::wire::MessagesRequest;
///
/// let body = r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "metadata": {"user_id": "u"}}"#;
/// let request: MessagesRequest = serde_json::from_str(body)?;
/// assert_eq!((request.max_tokens, request.messages.len()), (9, 1));
/// assert_eq!(request.extra["metadata"]["user_id"], "u");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessagesRequest {
    pub model: String,
    pub messages: Vec<InputMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Upper bound on generated tokens.
    pub max_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    #[serde(default)]
    pub stream: bool,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The body of `POST /v1/messages/count_tokens`: a [`MessagesRequest`] without `max_tokens` and `stream`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CountTokensRequest {
    #[serde(default)]
    pub model: String,
    pub messages: Vec<InputMessage>,
    #[serde(default)]
    pub system: Option<System>,
    #[serde(default)]
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub tool_choice: Option<ToolChoice>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl From<CountTokensRequest> for MessagesRequest {
    fn from(count: CountTokensRequest) -> Self {
        let CountTokensRequest { model, messages, system, tools, tool_choice, extra } = count;
        Self {
            model,
            messages,
            system,
            tools,
            tool_choice,
            max_tokens: 1,
            temperature: None,
            top_p: None,
            top_k: None,
            stop_sequences: Vec::new(),
            stream: false,
            extra,
        }
    }
}

/// The system prompt: one text, or text blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum System {
    Text(String),
    Blocks(Vec<ContentBlock>),
}

/// How the line starts that Claude Code puts before its system prompt for accounting. Its value changes with every request, so in
/// a prompt it would keep every request from finding the cached prefix of another.
pub const BILLING_HEADER: &str = "x-anthropic-billing-header:";

impl System {
    /// The prompt as one text without the billing header. Blocks are separated by blank lines.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Blocks(blocks) => {
                let texts = blocks.iter().filter_map(|block| match block {
                    ContentBlock::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                });
                let texts = texts.enumerate().filter(|(at, text)| *at > 0 || !text.starts_with(BILLING_HEADER));
                texts.map(|(_, text)| text).collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

/// The author of a message. Claude Code also sends `system` messages in the middle of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
    System,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputMessage {
    pub role: Role,
    pub content: Content,
}

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
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList::<Self, ContentBlock>::of("a string or a list of content blocks"))
    }
}

impl<'de> Deserialize<'de> for System {
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

impl From<String> for System {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<ContentBlock>> for System {
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

/// A content block, in requests and answers. A block of an unknown `type` is an error that names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentBlock {
    Text {
        text: String,
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
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
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
    Thinking {
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
}

impl ContentBlock {
    /// A text block without extra fields.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), extra: Map::new() }
    }
}

/// A tool the model may call. Tools that Anthropic's servers run have a `type` and often no schema; it is read as `{}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    #[serde(default = "empty_object")]
    pub input_schema: Value,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

/// Whether the model must call a tool, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    Auto {
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// Any one tool must be called.
    Any {
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// This tool must be called.
    Tool {
        name: String,
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// No tool may be called.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
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
        ] {
            let message = message(content.clone()).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap()["content"], content);
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_with_the_block() {
        for (content, expected) in [
            (json!([{"type": "hologram"}]), "unknown variant `hologram`"),
            (json!([{"type": "text"}]), "missing field `text`"),
            (json!([{"text": "hi"}]), "missing field `type`"),
            (json!(7), "expected a string or a list of content blocks"),
        ] {
            let error = message(content).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
