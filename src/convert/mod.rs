//! Converting between Anthropic Messages and OpenAI's chat completions and Responses.
//!
//! Pure functions from data to data: what a field of one protocol means in the other, and the order of a stream's events.
//! What has no counterpart is collected by name in [`Omitted`], so that the caller can log it.

mod anthropic_tools;
mod cache_key;
mod call_arguments;
mod chat_to_messages;
mod chunk_reader;
mod chunk_writer;
mod compaction;
mod completions;
mod content_queue;
mod conversation;
mod dialect;
mod error;
mod estimate;
mod field_names;
mod for_text_model;
mod logprobs;
mod messages_to_chat;
mod omitted;
mod openai_common;
mod pictures;
mod reasoning;
mod responses_items;
mod responses_output;
mod responses_to_messages;
mod responses_tools;
mod responses_writer;
mod stand_in;
#[cfg(test)]
mod tests;
mod turns;
mod unread;
mod usage;
mod written_markup;

pub use anthropic_tools::is_run_by_client;
pub use cache_key::CacheKey;
pub use chat_to_messages::{FromChat, from_chat};
pub use chunk_reader::ChunkReader;
pub use chunk_writer::{ChunkWriter, completion};
pub use completions::{CompletionWriter, from_completion};
pub use dialect::Dialect;
pub use error::{PromptField, chat_error, error_body, is_too_long};
pub use estimate::estimated_tokens;
pub use field_names::FieldNames;
pub use for_text_model::{for_text_model, forced_server_tool};
pub use messages_to_chat::{Converted, to_chat};
pub use omitted::Omitted;
pub use pictures::leave_out_pictures;
pub use responses_to_messages::{FromResponses, from_responses};
pub use responses_tools::ClientNames;
pub use responses_writer::ResponseWriter;
pub use unread::unread_fields;
pub(crate) use usage::usage_in;
