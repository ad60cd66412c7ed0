//! The answer to a request of the Responses API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::TokenLogprob;

/// An answer: whole, or as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResponseObject {
    pub id: String,
    /// Always `response`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: i64,
    pub status: ResponseStatus,
    pub error: Option<ResponseError>,
    pub incomplete_details: Option<IncompleteDetails>,
    pub model: String,
    pub output: Vec<OutputItem>,
    pub usage: Option<ResponsesUsage>,
    /// The request's settings, which the answer repeats.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    InProgress,
    Completed,
    /// Cut, for the reason in `incomplete_details`.
    Incomplete,
    Failed,
}

/// Why an answer failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseError {
    pub code: String,
    pub message: String,
}

/// Why an answer was cut: `max_output_tokens` or `content_filter`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    pub reason: String,
}

/// A part of the answer that stands for itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    Message {
        id: String,
        status: ItemStatus,
        /// Always `assistant`.
        role: String,
        content: Vec<OutputPart>,
    },
    /// What the model thought.
    Reasoning {
        id: String,
        status: ItemStatus,
        /// Always empty: nothing here sums thoughts up.
        summary: Vec<OutputPart>,
        content: Vec<OutputPart>,
    },
    FunctionCall {
        id: String,
        status: ItemStatus,
        /// The id that the call's output has to name.
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        /// JSON text.
        arguments: String,
    },
    CustomToolCall {
        id: String,
        status: ItemStatus,
        /// The id that the call's output has to name.
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        input: String,
    },
}

impl OutputItem {
    /// The item's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. } => id,
        }
    }

    /// Whether the model has ended it.
    pub fn is_completed(&self) -> bool {
        let (Self::Message { status, .. }
        | Self::Reasoning { status, .. }
        | Self::FunctionCall { status, .. }
        | Self::CustomToolCall { status, .. }) = self;
        *status == ItemStatus::Completed
    }
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    InProgress,
    Completed,
    /// The answer was cut in the middle of the item.
    Incomplete,
}

/// A part of a message or of thoughts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputPart {
    OutputText {
        text: String,
        /// Always empty.
        annotations: Vec<Value>,
        /// Log-probabilities of the text's tokens; empty unless the request asks for them.
        logprobs: Vec<TokenLogprob>,
    },
    ReasoningText {
        text: String,
    },
}

/// Token counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponsesUsage {
    /// All tokens of the prompt, cached or not.
    pub input_tokens: u64,
    pub input_tokens_details: InputDetails,
    pub output_tokens: u64,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: u64,
}

/// A breakdown of the prompt's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDetails {
    /// Read from the prefix cache.
    pub cached_tokens: u64,
}

/// A breakdown of the generated tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDetails {
    /// Always 0: thoughts are not counted apart.
    pub reasoning_tokens: u64,
}
