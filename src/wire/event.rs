//! The events of a streamed answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ContentBlock, ErrorBody, Message, StopReason, TokenLogprob, Usage};

/// One server-sent event of `POST /v1/messages` with `stream`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamEvent {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: usize,
        content_block: ContentBlock,
    },
    ContentBlockDelta {
        index: usize,
        delta: BlockDelta,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: MessageDelta,
        #[serde(default)]
        usage: Value,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    MessageStop,
    Ping,
    Error {
        #[serde(flatten)]
        body: ErrorBody,
    },
    /// An event this version does not know, verbatim.
    #[serde(untagged)]
    Other(Value),
}

impl StreamEvent {
    /// The event's name: its `type`, and the `event:` line of its SSE frame.
    pub fn name(&self) -> &str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error { .. } => "error",
            Self::Other(value) => value.get("type").and_then(Value::as_str).unwrap_or("unknown"),
        }
    }

    /// Whether the event carries content. TTFT and the gaps between tokens are measured between such events.
    ///
    /// The start of a `tool_use` block counts, because it carries the tool's name; that of an empty text block does not.
    pub fn is_content(&self) -> bool {
        match self {
            Self::ContentBlockStart { content_block, .. } => matches!(content_block, ContentBlock::ToolUse { .. }),
            Self::ContentBlockDelta { delta, .. } => !matches!(delta, BlockDelta::SignatureDelta { .. }),
            _ => false,
        }
    }

    /// A `message_delta` with a stop reason and the final usage.
    pub fn message_delta(stop_reason: StopReason, stop_sequence: Option<String>, usage: &Usage) -> Self {
        Self::MessageDelta {
            delta: MessageDelta { stop_reason: Some(stop_reason), stop_sequence, extra: Map::new() },
            usage: serde_json::to_value(usage).unwrap_or_default(),
            extra: Map::new(),
        }
    }
}

/// The `delta` of a `content_block_delta`: the piece it adds to its block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockDelta {
    TextDelta {
        text: String,
        /// Log-probabilities of the text's tokens, if the request asked for them.
        #[serde(skip)]
        logprobs: Vec<TokenLogprob>,
    },
    /// A piece of a tool call's arguments. Joined, the pieces are the text of one JSON object; no pieces mean `{}`.
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    /// A delta this version does not know, verbatim.
    #[serde(untagged)]
    Other(Value),
}

impl BlockDelta {
    /// A piece of text without log-probabilities.
    pub fn text(text: impl Into<String>) -> Self {
        Self::TextDelta { text: text.into(), logprobs: Vec::new() }
    }
}

/// The `delta` of a `message_delta`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageDelta {
    pub stop_reason: Option<StopReason>,
    #[serde(default)]
    pub stop_sequence: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
