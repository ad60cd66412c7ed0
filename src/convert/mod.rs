//! Anthropic Messages to OpenAI chat completions and back: pure functions from data to data.
//!
//! Owns what a field of one protocol means in the other, and the order of a stream's events. No I/O and no clock.
//! What has no counterpart is collected by name ([`Omitted`]), so that whoever sends the request can say what was left out.

mod arguments;
mod blocks;
mod cache_key;
mod chat_request;
mod chunk_reader;
mod chunk_writer;
mod conversation;
mod dialect;
mod error;
mod estimate;
mod omitted;
mod reasoning;
mod request;
#[cfg(test)]
mod streams;
mod usage;

pub use cache_key::CacheKey;
pub use chat_request::from_chat;
pub use chunk_reader::ChunkReader;
pub use chunk_writer::{ChunkWriter, completion};
pub use dialect::Dialect;
pub use error::{error_body, kind_of_status};
pub use estimate::estimated_tokens;
pub use omitted::Omitted;
pub use request::{Converted, to_chat};
