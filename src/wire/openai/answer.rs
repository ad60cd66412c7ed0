//! The answer to a chat request, whole or streamed in chunks.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{CallKind, ChatError, ChatMessage};
use crate::wire::TokenLogprob;
use crate::wire::nullable::null_is_default;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletion {
    pub id: String,
    pub object: String,
    /// Seconds since 1970.
    pub created: i64,
    pub model: String,
    pub choices: Vec<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ChatUsage>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One alternative of a whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub index: usize,
    /// Always the assistant's.
    pub message: ChatMessage,
    /// Written only: those of other servers are not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<ChoiceLogprobs>,
    pub finish_reason: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Log-probabilities of an answer's text, or of a piece of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChoiceLogprobs {
    pub content: Vec<TokenLogprob>,
    /// Always `None`: a refusal is text like any other.
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// One chunk of a streamed answer. An error in mid-stream is a chunk too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub object: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: i64,
    #[serde(default)]
    pub model: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub choices: Vec<ChunkChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ChatUsage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ChatError>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a chunk adds to one alternative.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkChoice {
    #[serde(default)]
    pub index: usize,
    #[serde(default, deserialize_with = "null_is_default")]
    pub delta: Delta,
    /// Written only: those of other servers are not read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<ChoiceLogprobs>,
    #[serde(default)]
    pub finish_reason: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A piece of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Reasoning under the name that LM Studio, vLLM and DeepSeek use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Reasoning under the name that OpenRouter uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The text of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallDelta>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A piece of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallDelta {
    /// Which call of the answer the piece belongs to. Some servers omit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CallKind>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub function: FunctionDelta,
}

/// A piece of a call's name and arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionDelta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A piece of JSON text.
    #[serde(default, deserialize_with = "text_or_json", skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}

/// Reads JSON text, or the JSON object that some servers send in its place.
fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        json => Some(json.to_string()),
    })
}

/// Token counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatUsage {
    /// All tokens of the prompt, cached or not.
    #[serde(default, deserialize_with = "null_is_default")]
    pub prompt_tokens: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub completion_tokens: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub total_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionDetails>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A breakdown of the prompt's tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptDetails {
    /// Read from the prefix cache.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cached_tokens: u64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A breakdown of the generated tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chunks_of_many_servers_are_read() {
        for chunk in [
            json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {"role": "assistant"}, "logprobs": null, "finish_reason": null}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": null}}),
            json!({"choices": null, "error": {"code": 502, "message": "gone"}}),
            json!({"choices": [{"delta": {"content": null, "tool_calls": null, "reasoning_details": []}, "native_finish_reason": "x"}]}),
            json!({"choices": [{"delta": null, "finish_reason": "stop"}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"id": "", "function": {"name": null, "arguments": null}}]}}]}),
        ] {
            assert!(serde_json::from_value::<ChatChunk>(chunk.clone()).is_ok(), "{chunk}");
        }
    }

    #[test]
    fn arguments_may_be_an_object() {
        let delta: CallDelta = serde_json::from_value(json!({"function": {"arguments": {"path": "a"}}})).unwrap();
        assert_eq!(delta.function.arguments.as_deref(), Some("{\"path\":\"a\"}"));
    }
}
