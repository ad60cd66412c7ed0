//! OpenAI's chat completions as types: requests, whole and streamed answers, errors.
//!
//! Owns no I/O. Many servers speak this protocol, each a little differently: answers are read leniently (what may be missing
//! is optional, what may be `null` is taken as missing), and unknown fields are kept in `extra`.

mod answer;
mod error;
mod request;

pub use answer::{
    CallDelta, ChatChunk, ChatCompletion, ChatUsage, Choice, ChunkChoice, CompletionDetails, Delta, FunctionDelta, PromptDetails,
};
pub use error::{ChatError, ChatErrorBody};
pub use request::{
    AssistantMessage, CallKind, ChatContent, ChatMessage, ChatRequest, ChatTool, ChatToolChoice, Function, FunctionCall,
    ImageUrl, NamedFunction, Part, Stop, StreamOptions, ToolCall,
};

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
