//! OpenAI's chat completions as types: requests, whole and streamed answers, errors. The Responses API is in [`responses`].
//!
//! Many servers speak this protocol with small differences, so answers are read leniently: what some server omits is optional,
//! `null` counts as missing, and unknown fields are kept in `extra`.

mod answer;
mod completion;
mod error;
mod request;
pub mod responses;
mod text_or_parts;
mod token_limit;

pub use answer::{
    CallDelta, ChatChunk, ChatCompletion, ChatUsage, Choice, ChoiceLogprobs, ChunkChoice, CompletionDetails, Delta,
    FunctionDelta, PromptDetails,
};
pub use completion::{Completion, CompletionChoice, CompletionLogprobs, CompletionPrompt, CompletionRequest};
pub use error::{ChatError, ChatErrorBody};
pub use request::{
    AllowedTool, AllowedTools, AssistantMessage, CallKind, ChatContent, ChatFile, ChatMessage, ChatRequest, ChatTool,
    ChatToolCall, ChatToolChoice, ContentPart, Function, FunctionCall, ImageUrl, NamedFunction, StopSequences, StreamOptions,
};
pub use text_or_parts::TextOrParts;
