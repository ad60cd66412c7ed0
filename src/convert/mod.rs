//! Converting between Anthropic Messages and OpenAI chat completions.
//!
//! Pure functions from data to data: what a field of one protocol means in the other, and the order of a stream's events.
//! What has no counterpart is collected by name in [`Omitted`], so that the caller can log it.

mod cache_key;
mod call_arguments;
mod chat_request;
mod chunk_reader;
mod chunk_writer;
mod content_queue;
mod conversation;
mod dialect;
mod error;
mod estimate;
mod omitted;
mod reasoning;
mod request;
#[cfg(test)]
mod tests;
mod usage;

pub use cache_key::CacheKey;
pub use chat_request::from_chat;
pub use chunk_reader::ChunkReader;
pub use chunk_writer::{ChunkWriter, completion};
pub use dialect::Dialect;
pub use error::error_body;
pub use estimate::estimated_tokens;
pub use omitted::Omitted;
pub use request::{Converted, to_chat};
