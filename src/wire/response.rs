//! The answer: a message, its stop reason and its token usage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ContentBlock;

/// A whole answer: the response to a request without `stream`, or the assembled events of one with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    #[serde(rename = "type", default = "message_type")]
    pub kind: String,
    pub role: String,
    pub model: String,
    pub content: Vec<ContentBlock>,
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    #[serde(default)]
    pub stop_sequence: Option<String>,
    #[serde(default)]
    pub usage: Usage,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn message_type() -> String {
    "message".into()
}

impl Message {
    /// An answer without content, as `message_start` carries it.
    pub fn empty(id: impl Into<String>, model: impl Into<String>, usage: Usage) -> Self {
        Self {
            id: id.into(),
            kind: message_type(),
            role: "assistant".into(),
            model: model.into(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage,
            extra: Map::new(),
        }
    }

    /// Gives tool calls that were cut the empty input that a message outside of a stream has for them. Half of what the model
    /// wanted to say must not look like arguments.
    pub fn with_empty_unfinished_inputs(mut self) -> Self {
        for block in &mut self.content {
            if let ContentBlock::ToolUse { input, .. } = block
                && input.is_string()
            {
                *input = Value::Object(Map::new());
            }
        }
        self
    }
}

/// Why generation stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    /// A reason this version does not know, verbatim.
    #[serde(untagged)]
    Other(String),
}

impl StopReason {
    /// What a classifier has ended, at whatever place.
    pub const REFUSAL: &str = "refusal";

    /// Whether a classifier has ended the answer.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Other(reason) if reason == Self::REFUSAL)
    }

    /// Whether the answer was cut before the model ended it, so that its last tool call may be unfinished.
    pub fn cuts(&self) -> bool {
        match self {
            Self::MaxTokens => true,
            Self::Other(reason) => reason == "model_context_window_exceeded",
            Self::EndTurn | Self::ToolUse | Self::StopSequence => false,
        }
    }
}

/// Token counts. The three input counts add up to the prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens that were neither read from the prefix cache nor written to it.
    #[serde(default)]
    pub input_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// So many tokens together. Servers say what they like: past the largest number it stays at that.
pub fn total_tokens(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A part of so many tokens in percent, rounded down.
pub fn percent_of(part: u64, all: u64) -> u128 {
    100 * u128::from(part) / u128::from(all.max(1))
}

impl Usage {
    /// All tokens of the prompt, cached or not.
    pub fn prompt_tokens(&self) -> u64 {
        let cached = [self.cache_creation_input_tokens, self.cache_read_input_tokens].map(Option::unwrap_or_default);
        total_tokens([self.input_tokens].into_iter().chain(cached))
    }

    /// Overwrites the fields that a later `usage` object repeats: `message_delta` carries only some of them.
    pub fn merge(&mut self, newer: &Value) {
        let (Ok(mut base), Some(newer)) = (serde_json::to_value(&*self), newer.as_object()) else { return };
        if let Some(base) = base.as_object_mut() {
            base.extend(newer.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        }
        if let Ok(merged) = serde_json::from_value(base) {
            *self = merged;
        }
    }
}
