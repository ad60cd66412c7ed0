//! Tokenizing prompts that are mostly like the one before: a conversation's past is not tokenized again.
//!
//! Prompts are cut where turns begin, at a control token; what comes between two of them is tokenized once and remembered.
//! Tokenizers take control tokens out of a text first and look at what is between them by itself, so the pieces' tokens are
//! the prompt's. Whether a tokenizer really does so is tried out; where it does not, prompts are tokenized whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{KeptTokens, TokenKind, Tokenizer};
use crate::engine::EngineError;

/// Text remembered in each of two generations, in bytes: a hundred long conversations.
const GENERATION: usize = 32 * 1024 * 1024;

/// A tokenizer that remembers.
pub struct PromptTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The control token that begins a turn; `None`: prompts are tokenized whole.
    turn: Option<String>,
    memory: Mutex<Memory>,
    /// What other processes have tokenized.
    kept: Option<KeptTokens>,
}

/// Pieces of text and their tokens. What was not used for a generation is forgotten.
#[derive(Default)]
struct Memory {
    young: HashMap<Box<str>, Arc<[u32]>>,
    old: HashMap<Box<str>, Arc<[u32]>>,
    /// Text in `young`.
    bytes: usize,
}

impl PromptTokenizer {
    /// Learns from a sample, some rendered conversation of several turns, where prompts can be cut.
    pub fn new(tokenizer: Arc<Tokenizer>, kept: Option<KeptTokens>, sample: &str) -> Self {
        let turn = turn_token(&tokenizer, sample);
        let mut memo = Self { tokenizer, turn, memory: Mutex::default(), kept };
        let same = |memo: &Self| Some(memo.encode(sample).ok()? == memo.tokenizer.encode(sample).ok()?);
        if same(&memo) != Some(true) {
            memo.turn = None;
        }
        memo
    }

    /// The text's tokens, as [`Tokenizer::encode`] gives them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let Some(turn) = &self.turn else { return self.tokenizer.encode(text) };
        let mut tokens = Vec::new();
        for piece in pieces(text, turn) {
            tokens.extend_from_slice(&self.piece(piece)?);
        }
        Ok(tokens)
    }

    fn piece(&self, piece: &str) -> Result<Arc<[u32]>, EngineError> {
        if let Some(tokens) = self.memory().recall(piece) {
            return Ok(tokens);
        }
        // Others may look things up meanwhile.
        let encode = || self.tokenizer.encode(piece);
        let tokens = match &self.kept {
            Some(kept) => kept.of(piece, encode)?,
            None => encode()?.into(),
        };
        self.memory().keep(piece, tokens.clone());
        Ok(tokens)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn recall(&mut self, piece: &str) -> Option<Arc<[u32]>> {
        if let Some(tokens) = self.young.get(piece) {
            return Some(tokens.clone());
        }
        let tokens = self.old.remove(piece)?;
        self.keep(piece, tokens.clone());
        Some(tokens)
    }

    fn keep(&mut self, piece: &str, tokens: Arc<[u32]>) {
        if self.bytes + piece.len() > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += piece.len();
        self.young.insert(piece.into(), tokens);
    }
}

/// The text cut before every `turn` but one at its start.
fn pieces<'a>(text: &'a str, turn: &str) -> impl Iterator<Item = &'a str> {
    let cuts: Vec<usize> = text.match_indices(turn).map(|(at, _)| at).filter(|at| *at > 0).collect();
    let starts = std::iter::once(0).chain(cuts.clone());
    let ends = cuts.into_iter().chain([text.len()]);
    starts.zip(ends).map(|(start, end)| &text[start..end])
}

/// The control token that is in the sample most often; the first of equals.
fn turn_token(tokenizer: &Tokenizer, sample: &str) -> Option<String> {
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for token in tokenizer.encode(sample).ok()? {
        match counts.iter_mut().find(|(known, _)| *known == token) {
            Some((_, count)) => *count += 1,
            None if tokenizer.kind(token) == TokenKind::Control => counts.push((token, 1)),
            None => {}
        }
    }
    let (token, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    let text = String::from_utf8(tokenizer.bytes(token).to_vec()).ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::tiny_model;
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n yes <|im_end|>\n<|im_start|>user\n";

    fn memo() -> PromptTokenizer {
        PromptTokenizer::new(Tokenizer::load(&tiny_model()).unwrap(), None, SAMPLE)
    }

    #[test]
    fn prompts_are_cut_where_turns_begin() {
        let memo = memo();
        assert_eq!(memo.turn.as_deref(), Some("<|im_start|>"));
        memo.encode(SAMPLE).unwrap();
        assert_eq!(memo.memory().young.len(), 3);
        assert_eq!(pieces("a<t>b<t>", "<t>").collect::<Vec<_>>(), ["a", "<t>b", "<t>"]);
        assert_eq!(pieces("", "<t>").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn what_is_not_used_for_a_generation_is_forgotten() {
        let mut memory = Memory::default();
        let piece = |name: &str| name.repeat(GENERATION / 3);
        for name in ["a", "b", "c", "d"] {
            memory.keep(&piece(name), [1].into());
            memory.recall(&piece("a"));
        }
        let known = ["a", "b", "c", "d"].map(|name| memory.recall(&piece(name)).is_some());
        assert!(known[0] && known[3] && memory.young.len() + memory.old.len() <= 6, "{known:?}");
    }

    proptest! {
        #[test]
        fn the_tokens_are_the_tokenizers(parts in prop::collection::vec(prop_oneof![
            Just("<|im_start|>".to_string()), Just("<|im_end|>\n".to_string()), Just(" ".to_string()), "[ -~\\n\\PC]{0,9}",
        ], 0..20)) {
            thread_local!(static MEMO: PromptTokenizer = memo());
            let text = parts.concat();
            MEMO.with(|memo| assert_eq!(memo.encode(&text).unwrap(), memo.tokenizer.encode(&text).unwrap()));
        }
    }
}
