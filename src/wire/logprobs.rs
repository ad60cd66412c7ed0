//! Log-probabilities of an answer's tokens.
//!
//! The Messages protocol has no place for them. They travel beside its types from the engine to the writers of OpenAI's
//! protocols, and are left out wherever a Messages request or answer is written.

use serde::Serialize;

/// Asks for the log-probability of each token of the answer's text, and of this many of the likeliest tokens in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopLogprobs(pub usize);

/// A token of the answer's text and how likely it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token's whole text. Bytes that are not whole characters are written as `\xe2\x82`.
    pub token: String,
    /// The natural logarithm of its probability; at least -9999.
    pub logprob: f64,
    /// What it adds to the text: all its bytes, but for those that a stop sequence or a tool call cuts off.
    pub bytes: Vec<u8>,
    /// The likeliest tokens in its place, the likeliest first.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopLogprob {
    /// As [`TokenLogprob::token`].
    pub token: String,
    /// As [`TokenLogprob::logprob`].
    pub logprob: f64,
    /// The bytes that it would add to the text; empty for a token that ends the answer.
    pub bytes: Vec<u8>,
}
