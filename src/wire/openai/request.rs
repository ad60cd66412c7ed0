//! The body of `POST /v1/chat/completions`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::text_or_parts::{TextOrParts, null_is_no_text};
use super::token_limit::limit;
use crate::wire::nullable::null_is_default;

/// The body of `POST /v1/chat/completions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    #[serde(default)]
    pub model: String,
    pub messages: Vec<ChatMessage>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ChatTool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ChatToolChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Upper bound on generated tokens under its older name, which most servers know. -1 is read as none.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Upper bound on generated tokens under the name that OpenAI's reasoning models require. -1 is read as none.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopSequences>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub stream: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One text that ends generation, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "Input should be a valid string or list")]
pub enum StopSequences {
    One(String),
    Many(Vec<String>),
}

/// What a stream carries besides the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamOptions {
    /// Whether a last chunk without choices carries the usage.
    #[serde(default, deserialize_with = "null_is_default")]
    pub include_usage: bool,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum ChatMessage {
    System {
        content: ChatContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// OpenAI's newer name for `system`.
    Developer {
        content: ChatContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    User {
        content: ChatContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    Assistant(AssistantMessage),
    Tool {
        tool_call_id: String,
        /// `null`, which a tool without output gives, is read as an empty text.
        #[serde(default = "no_text", deserialize_with = "null_is_no_text")]
        content: ChatContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

/// The model's turn, in a conversation or as the message of a whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    #[serde(default)]
    pub content: Option<ChatContent>,
    /// Reasoning under the name that LM Studio, vLLM and DeepSeek use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Reasoning under the name that OpenRouter uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ChatToolCall>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A message's content.
pub type ChatContent = TextOrParts<ContentPart>;

fn no_text() -> ChatContent {
    ChatContent::Text(String::new())
}

/// A part of a message's content. A part of an unknown `type` is an error that names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    Text {
        text: String,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    ImageUrl {
        image_url: ImageUrl,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A file, such as a PDF.
    File {
        file: ChatFile,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// The text of a refusal.
    Refusal {
        refusal: String,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

impl ContentPart {
    /// A text part without extra fields.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), extra: Map::new() }
    }
}

/// An image: its web address, or a `data:` URL that contains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageUrl {
    pub url: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A file: its content, or the id of one that was uploaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// A `data:` URL, or bare base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_data: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A tool the model may call. Functions are the only kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatTool {
    #[serde(rename = "type")]
    pub kind: CallKind,
    pub function: Function,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The `type` of a tool or a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    #[default]
    Function,
}

/// A function's declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments; missing for a function without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A call that the model made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatToolCall {
    pub id: String,
    #[serde(rename = "type", default)]
    pub kind: CallKind,
    pub function: FunctionCall,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The function's name, and its arguments as JSON text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    pub name: String,
    #[serde(default)]
    pub arguments: String,
}

/// Whether the model must call a tool, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChatToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// This function must be called.
    Function {
        #[serde(rename = "type", default)]
        kind: CallKind,
        function: NamedFunction,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// Only these of the request's tools may be called.
    Allowed {
        #[serde(rename = "type")]
        kind: AllowedKind,
        allowed_tools: AllowedTools,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// Something else, for the error that shows it.
    Other(Value),
}

/// The `type` of [`ChatToolChoice::Allowed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedKind {
    AllowedTools,
}

/// Some of the request's tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedTools {
    /// `auto` or `required`.
    pub mode: String,
    pub tools: Vec<AllowedTool>,
}

/// A tool by its name, as in [`AllowedTools`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedTool {
    #[serde(rename = "type", default)]
    pub kind: CallKind,
    pub function: NamedFunction,
}

/// A function by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFunction {
    pub name: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_survives_a_round_trip_with_what_nobody_reads() {
        let body = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                ], "name": "ann"},
                {"role": "assistant", "content": null, "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "Look", "arguments": "{}"}}], "audio": null},
                {"role": "tool", "tool_call_id": "call_1", "content": "a crab"},
            ],
            "tools": [{"type": "function", "function": {"name": "Look", "parameters": {"type": "object"}, "strict": true}}],
            "tool_choice": {"type": "function", "function": {"name": "Look"}},
            "stop": ["END"],
            "stream": true,
            "stream_options": {"include_usage": true},
            "seed": 7,
        });
        let request: ChatRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), body);
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let messages = [
            json!({"role": "robot", "content": ""}),
            json!({"role": "user", "content": [{"type": "smell"}]}),
            json!({"role": "user", "content": 7}),
            json!({"role": "tool", "content": "x"}),
        ];
        let error = |message| serde_json::from_value::<ChatMessage>(message).unwrap_err().to_string();
        insta::assert_snapshot!(messages.map(error).join("\n"), @"
        unknown variant `robot`, expected one of `system`, `developer`, `user`, `assistant`, `tool`
        unknown variant `smell`, expected one of `text`, `image_url`, `file`, `refusal`
        invalid type: integer `7`, expected a string or a list of content parts
        missing field `tool_call_id`
        ");
    }
}
