//! Ending an open tool call soon: which of the allowed tokens leads there.

use std::cmp::Reverse;

use super::arguments::Position;
use super::constraint::TokenMask;
use super::syntax::JsonScan;
use crate::engine::text::{TokenKind, Tokenizer};

/// Tokens after which a call is given up: no schema that an answer could meet needs so many.
const LONGEST: usize = 10_000;

/// Chooses the tokens of a call that has to end.
#[derive(Default)]
pub struct WindDown {
    /// Where there was a choice: how deep in the JSON, and the first byte of what was chosen. Forgotten when the object or
    /// array around it is complete. Inside it, what was chosen gives way to what was not, so that neither a recursive schema
    /// nor a pattern leads round in circles.
    choices: Vec<(usize, u8)>,
    steps: usize,
}

impl WindDown {
    /// The allowed token that leads to the end soonest; `None` if there is none, or there have been far too many already.
    pub fn choose(&mut self, allowed: &TokenMask, position: &Position, tokenizer: &Tokenizer) -> Option<u32> {
        self.steps += 1;
        if self.steps > LONGEST {
            return None;
        }
        if let Some(tag) = allowed.iter().find(|token| tokenizer.kind(*token) != TokenKind::Text) {
            return Some(tag);
        }
        let ending =
            |token: &u32| !tokenizer.bytes(*token).is_empty() && position.end.as_bytes().starts_with(tokenizer.bytes(*token));
        if let Some(token) = allowed.iter().filter(ending).max_by_key(|token| tokenizer.bytes(*token).len()) {
            return Some(token);
        }
        let scan = position.scan;
        self.choices.retain(|(depth, _)| *depth <= scan.depth());
        let bytes = |token: u32| tokenizer.bytes(token);
        let candidates: Vec<u32> = allowed.iter().filter(|token| !bytes(*token).is_empty()).collect();
        let first = bytes(*candidates.first()?)[0];
        if candidates.iter().all(|token| bytes(*token)[0] == first) {
            // In a string the longest token may pass over a choice: `left` one between `left` and `leaf`.
            let reach = |length: usize| if scan.in_string() { Reverse(usize::MAX - length) } else { Reverse(length) };
            return candidates.into_iter().min_by_key(|token| {
                let bytes = bytes(*token);
                (left_open(scan, bytes), reach(bytes.len()))
            });
        }
        let best = candidates.into_iter().min_by_key(|token| self.rank(scan, bytes(*token)))?;
        self.choices.push((scan.depth(), bytes(best)[0]));
        Some(best)
    }

    /// How soon the end comes after these bytes; less is better, what comes first counts most.
    fn rank(&self, scan: JsonScan, bytes: &[u8]) -> impl Ord + use<> {
        let first = bytes[0];
        // These end a value: without the comma a number could go on and on.
        let ends_value = if scan.in_string() { first == b'"' } else { matches!(first, b',' | b':' | b'}' | b']') };
        let chosen = self.choices.iter().filter(|(_, choice)| *choice == first).count();
        (left_open(scan, bytes), !ends_value, chosen, sort(first, scan.in_string()), bytes.len())
    }
}

/// How many signs are open after these bytes, and how much they put into strings that they open. A comma or a minus at the
/// end counts as open: something has to follow it, where perhaps nothing had to.
fn left_open(mut scan: JsonScan, bytes: &[u8]) -> (usize, usize) {
    let mut into_string = 0;
    let mut own_string = false;
    for byte in bytes {
        let before = scan.in_string();
        scan.feed(*byte);
        own_string |= !before && scan.in_string();
        into_string += usize::from(own_string && before && scan.in_string());
    }
    let goes_on = bytes.len() > 1 && matches!(bytes.last(), Some(b',' | b'-')) && !scan.in_string();
    (scan.open() + usize::from(goes_on), into_string)
}

/// The sort of value or character that this byte starts, the sooner over the smaller.
fn sort(byte: u8, in_string: bool) -> u8 {
    match byte {
        _ if in_string && byte.is_ascii_punctuation() => 0,
        b'0'..=b'9' => 1,
        b'"' => 2,
        b'[' => 3,
        b'{' => 4,
        b'a'..=b'z' | b'A'..=b'Z' => 5,
        _ => 6,
    }
}
