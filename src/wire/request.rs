//! The bodies of `POST /v1/messages` and `/v1/messages/count_tokens`.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::TopLogprobs;
use super::billing_header::without_billing_header;
use super::content::{Content, ContentBlock, TextOrList};
use super::nullable::null_is_default;
use super::via::Via;

/// The body of `POST /v1/messages`. Fields that nothing here reads are kept in `extra`, so a body survives a round trip.
///
/// ```
/// use anyclaude::wire::MessagesRequest;
///
/// let body = r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
///     "metadata": {"user_id": "u"}}"#;
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
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
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
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub stream: bool,
    /// Set for requests that came in another protocol: the Messages protocol does not have it.
    #[serde(skip)]
    pub top_logprobs: Option<TopLogprobs>,
    /// A header, and no field of the body: whoever sends the request on sends it, too.
    #[serde(skip)]
    pub via: Via,
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
    #[serde(default, deserialize_with = "null_is_default")]
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub tool_choice: Option<ToolChoice>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Further fields of a request that the in-process engine's sampler reads. Anthropic's API does not have them.
pub const ENGINE_FIELDS: [&str; 4] = ["seed", "min_p", "repetition_penalty", "presence_penalty"];

/// Fields of [`MessagesRequest`] that mean nothing for a count. Kept in `extra`, they would be written twice.
const ANSWERS_ONLY: [&str; 6] = ["max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences"];

impl MessagesRequest {
    /// The value of `max_tokens` that stands for "as many as the context leaves". Anthropic's API has no such value; chat
    /// requests without a limit become it.
    pub const AS_MANY_AS_FIT: u32 = u32::MAX;

    /// How much the model is asked to think: `output_config.effort` of the last message that has one, else of the request.
    /// Claude Code changes it in a system message.
    pub fn effort(&self) -> Option<&str> {
        fn of(extra: &Map<String, Value>) -> Option<&str> {
            extra.get("output_config").and_then(|config| config["effort"].as_str())
        }
        let messages = self.messages.iter().rev().map(|message| &message.extra);
        messages.chain([&self.extra]).find_map(of)
    }
}

impl From<CountTokensRequest> for MessagesRequest {
    fn from(count: CountTokensRequest) -> Self {
        let CountTokensRequest { model, messages, system, tools, tool_choice, mut extra } = count;
        // Clients count with the very body that they will send.
        extra.retain(|name, _| !ANSWERS_ONLY.contains(&name.as_str()));
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
            top_logprobs: None,
            via: Via::default(),
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

impl System {
    /// The prompt as one text without the billing header. Blocks are separated by blank lines.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = match self {
            Self::Text(text) => vec![text],
            Self::Blocks(blocks) => blocks
                .iter()
                .filter_map(|block| match block {
                    ContentBlock::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
        };
        texts.into_iter().filter_map(without_billing_header).collect::<Vec<_>>().join("\n\n")
    }
}

impl<'de> Deserialize<'de> for System {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList::<Self, ContentBlock>::of("a string or a list of content blocks"))
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

/// The author of a message. Claude Code also sends `system` messages in the middle of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
    System,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputMessage {
    pub role: Role,
    pub content: Content,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl InputMessage {
    /// A message without further fields.
    pub fn new(role: Role, content: Content) -> Self {
        Self { role, content, extra: Map::new() }
    }

    /// The content as blocks: a plain text becomes one text block. A system message is without the billing header.
    pub fn blocks(&self) -> Cow<'_, [ContentBlock]> {
        let blocks = self.content.blocks();
        if self.role != Role::System {
            return blocks;
        }
        let mut blocks = blocks.into_owned();
        blocks.retain_mut(|block| {
            let ContentBlock::Text { text, .. } = block else { return true };
            let Some(rest) = without_billing_header(text).map(Cow::into_owned) else { return false };
            *text = rest;
            true
        });
        blocks.into()
    }
}

impl<'de> Deserialize<'de> for InputMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            role: Role,
            content: Option<Content>,
            #[serde(flatten)]
            extra: Map<String, Value>,
        }
        let Fields { role, content, extra } = Fields::deserialize(deserializer)?;
        match (role, content) {
            (role, Some(content)) => Ok(Self { role, content, extra }),
            // It may change settings only.
            (Role::System, None) => Ok(Self { role, content: Content::Blocks(Vec::new()), extra }),
            (Role::User | Role::Assistant, None) => Err(D::Error::missing_field("content")),
        }
    }
}

/// A tool the model may call.
///
/// Tools that Anthropic defines have a `type` and often no schema; it is read as `{}`. Sets of such tools have no name; it is
/// read as "".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Tool {
    /// The `type` of a tool that Anthropic defines; `None` for the client's own.
    pub fn anthropic_type(&self) -> Option<&str> {
        self.extra.get("type").and_then(Value::as_str).filter(|kind| *kind != "custom")
    }

    /// Whether calls must fit the whole schema.
    pub fn is_strict(&self) -> bool {
        self.extra.get("strict") == Some(&Value::Bool(true))
    }
}

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            name: Option<String>,
            description: Option<String>,
            input_schema: Option<Value>,
            #[serde(flatten)]
            extra: Map<String, Value>,
        }
        let Fields { name, description, input_schema, extra } = Fields::deserialize(deserializer)?;
        let is_named = name.is_some();
        let tool = Self {
            name: name.unwrap_or_default(),
            description,
            input_schema: input_schema.unwrap_or_else(|| Value::Object(Map::new())),
            extra,
        };
        match is_named || tool.anthropic_type().is_some() {
            true => Ok(tool),
            false => Err(D::Error::missing_field("name")),
        }
    }
}

/// Whether the model must call a tool, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    Auto {
        #[serde(default, deserialize_with = "null_is_default")]
        disable_parallel_tool_use: bool,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// Any one tool must be called.
    Any {
        #[serde(default, deserialize_with = "null_is_default")]
        disable_parallel_tool_use: bool,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// This tool must be called.
    Tool {
        name: String,
        #[serde(default, deserialize_with = "null_is_default")]
        disable_parallel_tool_use: bool,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// No tool may be called.
    None,
}

impl ToolChoice {
    /// The fields that have no place of their own.
    pub fn extra(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Auto { extra, .. } | Self::Any { extra, .. } | Self::Tool { extra, .. } => Some(extra),
            Self::None => None,
        }
    }

    /// The choice's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Auto { .. } => "auto",
            Self::Any { .. } => "any",
            Self::Tool { .. } => "tool",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_line_of_the_billing_header_is_left_out() {
        let header = "x-anthropic-billing-header: cc_version=1; cch=ab12;";
        let text = |system: Value| serde_json::from_value::<System>(system).unwrap().text();
        let block = |text: String| json!({"type": "text", "text": text});
        assert_eq!(text(json!([block(header.into()), block("A".into()), block("B".into())])), "A\n\nB");
        assert_eq!(text(json!([block("A".into()), block(header.into()), block("B".into())])), "A\n\nB");
        assert_eq!(text(json!([block(format!("{header}\nA\nB"))])), "A\nB");
        assert_eq!(text(json!(format!("A\n{header}\nB"))), "A\nB");
        assert_eq!(text(json!(header)), "");
        assert_eq!(text(json!(format!("{header} A"))), "A");
    }

    #[test]
    fn system_messages_lose_the_billing_header_too() {
        let header = "x-anthropic-billing-header: cc_version=1; cch=ab12;";
        let blocks = |role: &str, content: Value| {
            let message: InputMessage = serde_json::from_value(json!({"role": role, "content": content})).unwrap();
            serde_json::to_value(message.blocks()).unwrap()
        };
        let block = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(blocks("system", json!([block(header), block("A")])), json!([block("A")]));
        assert_eq!(blocks("system", json!(format!("{header}\nA"))), json!([block("A")]));
        assert_eq!(blocks("user", json!(header)), json!([block(header)]));
    }

    #[test]
    fn null_is_as_if_the_field_was_not_there() {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": null, "is_error": null}]}], "max_tokens": 1,
            "system": null, "tools": null, "tool_choice": null, "temperature": null, "top_p": null, "top_k": null,
            "stop_sequences": null, "stream": null, "metadata": null});
        let bare = json!({"model": "m", "messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t"}]}], "max_tokens": 1, "metadata": null});
        let [request, bare] = [request, bare].map(|body| serde_json::from_value::<MessagesRequest>(body).unwrap());
        assert_eq!(request, bare);
        let choice = json!({"type": "any", "disable_parallel_tool_use": null});
        let any = ToolChoice::Any { disable_parallel_tool_use: false, extra: Map::new() };
        assert_eq!(serde_json::from_value::<ToolChoice>(choice).unwrap(), any);
        let tool = json!({"name": "t", "description": null, "input_schema": null});
        assert_eq!(serde_json::from_value::<Tool>(tool).unwrap().input_schema, json!({}));
    }

    #[test]
    fn a_system_message_may_be_without_content_and_a_set_of_tools_without_name() {
        let message = |role: &str| serde_json::from_value::<InputMessage>(json!({"role": role, "output_config": {}}));
        let settings = message("system").unwrap();
        assert_eq!((settings.content, settings.extra.contains_key("output_config")), (Content::Blocks(vec![]), true));
        assert_eq!(message("user").unwrap_err().to_string(), "missing field `content`");
        let tool = |fields: Value| serde_json::from_value::<Tool>(fields).map_err(|error| error.to_string());
        assert_eq!(tool(json!({"type": "computer_toolset_20260801"})).unwrap().name, "");
        assert_eq!(tool(json!({"type": "custom"})).unwrap_err(), "missing field `name`");
    }
}
