//! How sure the model was of each token of a call, among those that the grammar allowed.
//!
//! A token is free if the grammar left a choice: where it prescribes the next bytes, other tokens may spell the same, and that
//! says nothing of the answer.

use std::sync::Arc;

use super::{Piece, TokenMask};
use crate::engine::text::Tokenizer;

/// One token of a call, and what else the grammar allowed in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenChoice {
    /// Its number in the answer, from 0 on.
    pub at: usize,
    /// Its text.
    pub text: String,
    /// The call that it is a part of, from 0 on.
    pub call: usize,
    /// The argument that it is a part of; `None` in the tool's name and between arguments.
    pub argument: Option<String>,
    /// Whether the grammar left a choice.
    pub is_free: bool,
    /// Its log-probability among the allowed tokens.
    pub logprob: f64,
    /// The best other one of these, and how far the token was ahead of it, in log-probability; below 0 if it was behind.
    pub runner_up: Option<(String, f64)>,
}

/// Notes the choices of an answer.
pub(super) struct ChoiceTrail {
    tokenizer: Arc<Tokenizer>,
    choices: Vec<TokenChoice>,
    /// All tokens of the answer, those of its text too.
    tokens: Vec<u32>,
    /// The token that was weighed and not yet placed.
    weighed: Option<Weighed>,
    /// The arguments of the open call so far.
    input: String,
}

/// What is known of a token before its place is.
struct Weighed {
    logprob: f64,
    runner_up: Option<(String, f64)>,
    is_free: bool,
}

impl ChoiceTrail {
    pub(super) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, choices: Vec::new(), tokens: Vec::new(), weighed: None, input: String::new() }
    }

    /// Takes the token that comes next. `mask`: what may come; `is_forced`: whether the grammar prescribes the next bytes.
    pub(super) fn weigh(&mut self, token: u32, logits: &[f32], mask: Option<&TokenMask>, is_forced: bool) {
        let allowed = |id: &u32| mask.is_none_or(|mask| mask.allows(*id));
        let (mut best, mut sum, mut count) = (None::<(u32, f64)>, 0.0, 0usize);
        let own = logits.get(token as usize).copied().map_or(f64::NEG_INFINITY, f64::from);
        for (id, logit) in (0u32..).zip(logits).filter(|(id, logit)| logit.is_finite() && allowed(id)) {
            let logit = f64::from(*logit);
            count += 1;
            // Relative to the token's own, so that nothing overflows for a token that is near the best one.
            sum += (logit - own).exp();
            if id != token && best.is_none_or(|(_, most)| logit > most) {
                best = Some((id, logit));
            }
        }
        let runner_up = best.map(|(id, logit)| (self.text(id), own - logit));
        self.weighed = Some(Weighed { logprob: -sum.ln(), runner_up, is_free: count > 1 && !is_forced });
        self.tokens.push(token);
    }

    /// Takes what the token that was weighed last added to the answer. `call`: the number of the call that it is a part of.
    pub(super) fn place(&mut self, token: u32, call: Option<usize>, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::ToolStart { .. } => self.input.clear(),
                Piece::ToolInput(json) => self.input.push_str(json),
                Piece::ToolEnd | Piece::Text(_) | Piece::TextWithLogprobs { .. } | Piece::Thinking(_) => {}
            }
        }
        let Some((Weighed { logprob, runner_up, is_free }, call)) = self.weighed.take().zip(call) else { return };
        let (text, argument) = (self.text(token), open_argument(&self.input));
        self.choices.push(TokenChoice { at: self.tokens.len() - 1, text, call, argument, is_free, logprob, runner_up });
    }

    /// All tokens of the answer, and the choices in its calls.
    pub(super) fn take(&mut self) -> (Vec<u32>, Vec<TokenChoice>) {
        (std::mem::take(&mut self.tokens), std::mem::take(&mut self.choices))
    }

    fn text(&self, token: u32) -> String {
        String::from_utf8_lossy(self.tokenizer.bytes(token)).into_owned()
    }
}

/// The argument whose value the JSON object's beginning ends in; `None` where it ends in a name or in none.
fn open_argument(json: &str) -> Option<String> {
    let (mut depth, mut in_string, mut is_escaped, mut is_value) = (0usize, false, false, false);
    let (mut start, mut name) = (0, None);
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 1 && !is_value {
                        name = serde_json::from_str(&json[start..=at]).ok();
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => (in_string, start) = (true, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => is_value = true,
            b',' if depth == 1 => is_value = false,
            _ => {}
        }
    }
    name.filter(|_| is_value && depth > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing;

    #[test]
    fn the_open_argument_is_the_one_whose_value_is_being_written() {
        let table = [
            ("", None),
            ("{\"fi", None),
            ("{\"file\"", None),
            ("{\"file\": \"a, \\\"b\\\": ", Some("file")),
            ("{\"file\": \"a\", ", None),
            ("{\"file\": \"a\", \"list\": [{\"x\": 1", Some("list")),
            ("{\"a\\n\": 1}", None),
        ];
        for (json, argument) in table {
            assert_eq!(open_argument(json).as_deref(), argument, "{json}");
        }
    }

    #[test]
    fn the_margin_is_to_the_best_other_token_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model(dir.path());
        let tokenizer = Tokenizer::load(dir.path()).unwrap();
        let mut trail = ChoiceTrail::new(tokenizer.clone());
        let logits = [5.0, 3.0, 2.5, f32::NEG_INFINITY];
        let mut choice = |mask: Option<&TokenMask>, token: u32, is_forced: bool| {
            trail.weigh(token, &logits, mask, is_forced);
            trail.place(token, Some(0), &[]);
            trail.choices.pop().unwrap()
        };
        // Token 0 is the likeliest, and not allowed.
        let mask = TokenMask::only(tokenizer.vocab_size(), &[1, 2, 3]);
        let one = choice(Some(&mask), 1, false);
        assert!(one.is_free && (one.runner_up.as_ref().unwrap().1 - 0.5).abs() < 1e-6, "{one:?}");
        assert!((one.logprob - (1.0 / (1.0 + (-0.5f64).exp())).ln()).abs() < 1e-6, "{one:?}");
        // Accepted, and behind what the model would rather say.
        assert!((choice(Some(&mask), 2, false).runner_up.unwrap().1 + 0.5).abs() < 1e-6);
        assert!(!choice(None, 1, true).is_free);
        let only = choice(Some(&TokenMask::only(tokenizer.vocab_size(), &[2])), 2, false);
        assert_eq!((only.is_free, only.runner_up, only.logprob), (false, None, 0.0));
    }
}
