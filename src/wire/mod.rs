//! The Anthropic Messages protocol as types: requests, stream events, errors; SSE encoding; assembling a stream into a message.
//! OpenAI's chat completions are in [`openai`].
//!
//! Owns no I/O and never sees a file or a socket. Unknown request fields are kept in `extra`, unknown events as
//! [`StreamEvent::Other`], so that a newer client never breaks us.

mod assemble;
mod error;
mod event;
pub mod openai;
mod request;
mod response;
mod sse;

pub use assemble::{AssembleError, Assembler};
pub use error::{ErrorBody, ErrorKind};
pub use event::{BlockDelta, MessageDelta, StreamEvent};
pub use request::{
    BILLING_HEADER, Content, ContentBlock, CountTokensRequest, InputMessage, MessagesRequest, Role, System, Tool, ToolChoice,
};
pub use response::{Message, StopReason, Usage};
pub use sse::encode_event;
