//! Which tokens the answer's text came from.
//!
//! Between a token and the text that a client sees lie the detokenizer, the thoughts, the calls and the stop sequences. Each may
//! hold text back, cut it or drop it, so text and tokens are matched by position: how many bytes were generated before.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Piece;
use super::logprobs::Logprobs;
use crate::engine::text::{TokenKind, Tokenizer};
use crate::wire::{TokenLogprob, TopLogprob, TopLogprobs};

/// A piece of the answer, and the position in all generated text where it ends, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub piece: Piece,
    pub end: usize,
}

/// Adds to the pieces of text the log-probabilities of the tokens that they came from.
///
/// Text is passed on in whole tokens, so that a piece has all tokens of its text and no others. Only where the text ends in the
/// middle of a token, at a stop sequence or a call, part of a token is passed on.
pub(super) struct LogprobTrail {
    tokenizer: Arc<Tokenizer>,
    top: TopLogprobs,
    /// The token sampled last, until its range is known.
    sampled: Option<Logprobs>,
    /// The tokens whose text may still be passed on, in order.
    tokens: VecDeque<TokenInText>,
    /// Text that may be the beginning of a token's.
    held: String,
    /// Where `held` ends.
    held_end: usize,
}

struct TokenInText {
    logprobs: Logprobs,
    /// The bytes of all generated text that it wrote.
    range: Range<usize>,
}

impl LogprobTrail {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, top: TopLogprobs) -> Self {
        Self { tokenizer, top, sampled: None, tokens: VecDeque::new(), held: String::new(), held_end: 0 }
    }

    /// Takes the token that was just sampled from these logits.
    pub(super) fn sampled(&mut self, token: u32, logits: &[f32]) {
        self.sampled = Some(Logprobs::of(logits, token, self.top));
    }

    /// The token sampled last wrote this range of the text. `is_text`: whether it has text at all.
    pub(super) fn locate(&mut self, range: Range<usize>, is_text: bool) {
        if let Some(before) = self.tokens.back_mut() {
            // Where the character that it began was not finished, U+FFFD is longer than its bytes.
            before.range.end = range.start;
        }
        let token = self.sampled.take().filter(|_| is_text).map(|logprobs| TokenInText { logprobs, range });
        self.tokens.extend(token);
    }

    /// No text of the tokens so far will be passed on.
    pub(super) fn forget(&mut self) {
        self.tokens.clear();
    }

    /// Passes pieces on.
    pub(super) fn pass(&mut self, pieces: Vec<Placed>) -> Vec<Piece> {
        let mut out = Vec::with_capacity(pieces.len());
        for Placed { piece, end } in pieces {
            match piece {
                Piece::Text(text) => out.extend(self.text(&text, end)),
                other => {
                    out.extend(self.finish());
                    // Whatever came before belongs to this piece; of the newest token, a part may be text that follows it.
                    self.tokens.drain(..self.tokens.len().saturating_sub(1));
                    out.push(other);
                }
            }
        }
        out
    }

    /// The text ends here: passes on what was held back.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        let tokens = self.tokens.iter().take_while(|token| token.range.start < self.held_end).count();
        self.give(self.held.len(), tokens)
    }

    /// Adds text that ends at this position; returns as much as consists of whole tokens.
    fn text(&mut self, text: &str, end: usize) -> Option<Piece> {
        if self.held.is_empty() {
            let before = self.tokens.iter().take_while(|token| token.range.end <= end - text.len()).count();
            self.tokens.drain(..before);
        }
        self.held.push_str(text);
        self.held_end = end;
        let start = end - self.held.len();
        let whole = self.tokens.iter().take_while(|token| token.range.end <= end).map(|token| token.range.end - start);
        // A token may end inside of a character.
        let (at, length) = whole.enumerate().filter(|(_, length)| self.held.is_char_boundary(*length)).last()?;
        self.give(length, at + 1)
    }

    /// Passes on this much of the held text, which came from this many tokens.
    fn give(&mut self, length: usize, tokens: usize) -> Option<Piece> {
        let start = self.held_end - self.held.len();
        let rest = self.held.split_off(length);
        let text = std::mem::replace(&mut self.held, rest);
        let tokens: Vec<TokenInText> = self.tokens.drain(..tokens).collect();
        let logprobs = tokens.into_iter().map(|token| self.reported(token, start..start + length)).collect();
        (!text.is_empty()).then_some(Piece::TextWithLogprobs { text, logprobs })
    }

    /// A token, of whose text only the part in this range is passed on.
    fn reported(&self, TokenInText { logprobs, range }: TokenInText, given: Range<usize>) -> TokenLogprob {
        let bytes = self.tokenizer.bytes(logprobs.token);
        let to = if range.end <= given.end { bytes.len() } else { bytes.len().min(given.end - range.start) };
        let from = given.start.saturating_sub(range.start).min(to);
        let of_likely = |(id, logprob): (u32, f64)| {
            let has_text = self.tokenizer.kind(id) != TokenKind::Control;
            let bytes = if has_text { self.tokenizer.bytes(id).to_vec() } else { Vec::new() };
            TopLogprob { token: spelled(self.tokenizer.bytes(id)), logprob, bytes }
        };
        TokenLogprob {
            token: spelled(bytes),
            logprob: logprobs.logprob,
            bytes: bytes[from..to].to_vec(),
            top_logprobs: logprobs.top.into_iter().map(of_likely).collect(),
        }
    }
}

/// A token as text; byte by byte, as in `\xe2\x82`, if it is not made of whole characters.
fn spelled(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect(),
    }
}
