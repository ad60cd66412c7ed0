//! Telling whether two requests ask the same, though they may be written in other words of the protocol.
//!
//! This is the one place that says what does not count, for whoever looks for the same request again. Left out is what has no
//! meaning for the answer, or what a client sets by the machine it runs on:
//!
//! - the billing header, `metadata`, `cache_control`, whether the answer is streamed, and `max_tokens`, which clients set by what
//!   they know of a model's limits;
//! - the ids of tool calls, in whichever of the protocols, but not which result belongs to which call;
//! - other words for the same: a text or the one block that it stands for, a field that is null or not there, `is_error` that is
//!   false or not there, an empty list of the body or none, the order of keys.
//!
//! Arguments of calls and schemas of tools count as they are: a name in them means what the tool says.
//!
//! `clean` leaves this out, `digest` is a number for what is left. A [`CanonicalRequest`] is a request of which all is kept, an
//! [`ItemKey`] tells of one item, so that what many requests share is read once.

mod canonical;
mod clean;
mod digest;
mod item_key;
mod opening;
#[cfg(test)]
mod tests;

pub use canonical::CanonicalRequest;
pub use digest::{Digest, digest};
pub use item_key::ItemKey;
pub use opening::conversation_opening;
