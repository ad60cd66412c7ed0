//! Recorded answers in place of a model: a [`Playback`] is a backend that knows the answers of its recordings and no others.
//!
//! A request has the recording that [asks the same](crate::trace::CanonicalRequest). `recording` is the answer to one and when its
//! events came, `nearest` says of a request without a recording which one comes nearest and where it differs.

mod backend;
mod fault;
mod misses;
mod nearest;
mod recording;
mod speed;
#[cfg(test)]
mod tests;

pub use backend::Playback;
pub use fault::{Fault, FaultKind};
pub use misses::{Miss, Misses};
pub use speed::Speed;
