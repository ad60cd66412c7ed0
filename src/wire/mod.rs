//! The Anthropic Messages API as types: requests, answers, stream events and errors. OpenAI's chat completions are in [`openai`].
//!
//! Also what both ends of a stream need: [`ContentWriter`] turns pieces of an answer into events, [`encode_event`] frames them
//! for SSE, and [`Assembler`] turns them back into a message. No I/O.
//!
//! A newer client or server must not break us: unknown fields are kept in `extra`, unknown events in [`StreamEvent::Other`].
//! Fields and variants that bear the protocol's own name are explained in Anthropic's and OpenAI's references; comments here
//! add units and what the references leave out.

mod assemble;
mod billing_header;
#[allow(missing_docs, reason = "the protocol's own names")]
mod content;
mod content_writer;
mod endpoint;
mod error;
#[allow(missing_docs, reason = "the protocol's own names")]
mod event;
mod frames;
mod id;
mod logprobs;
mod nullable;
#[allow(missing_docs, reason = "the protocol's own names")]
pub mod openai;
mod output_format;
mod reminder;
#[allow(missing_docs, reason = "the protocol's own names")]
mod request;
#[allow(missing_docs, reason = "the protocol's own names")]
mod response;
mod sse;
mod stream_end;
mod tool_changes;
mod via;

pub use anyclaude_trace::{from_json, without_lone_surrogates};
pub use assemble::{AssembleError, Assembler};
pub use billing_header::{BILLING_HEADER, without_billing_header};
pub use content::{Content, ContentBlock};
pub use content_writer::ContentWriter;
pub use endpoint::{
    CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, COUNT_TOKENS_PATH, Endpoint, MESSAGES_PATH, MODELS_PATH, RESPONSES_PATH,
};
pub use error::{ErrorBody, ErrorDetail, ErrorKind};
pub use event::{BlockDelta, MessageDelta, StreamEvent};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use frames::frames_of;
pub(crate) use frames::{EventTooLarge, Frame, Splitter};
pub use id::random_id;
pub use logprobs::{TokenLogprob, TopLogprob, TopLogprobs};
pub use output_format::OutputFormat;
pub(crate) use reminder::reminder;
pub use request::{CountTokensRequest, ENGINE_FIELDS, InputMessage, MessagesRequest, Role, System, Tool, ToolChoice};
pub use response::{Message, StopReason, Usage, percent_of, total_tokens};
pub use sse::encode_event;
pub use stream_end::{DONE, StreamSign};
pub use tool_changes::ToolChange;
pub use via::Via;
