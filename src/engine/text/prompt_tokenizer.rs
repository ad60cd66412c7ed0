//! Tokenizes prompts turn by turn and caches the turns, because most of a prompt is the same as in the request
//! before.
//!
//! Prompts are split before the control token that starts each turn. This gives the same tokens as tokenizing the
//! whole prompt, since tokenizers first cut a text at its control tokens and then tokenize each part on its own.
//! Whether a tokenizer really works this way is checked on a sample; if not, prompts are tokenized whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{KeptTokens, TokenKind, Tokenizer};
use crate::engine::EngineError;

/// How much text each of the cache's two generations holds, in bytes: about a hundred long conversations.
const GENERATION: usize = 32 * 1024 * 1024;

/// A tokenizer with a cache of turns.
pub struct PromptTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The control token that starts a turn; `None` if prompts are tokenized whole.
    turn: Option<String>,
    memory: Mutex<Memory>,
    /// Tokens on disk, shared with other processes.
    kept: Option<KeptTokens>,
}

/// Cached turns and their tokens, in two generations. When `young` is full it becomes `old`, and the entries of
/// `old` that were not used meanwhile are dropped.
#[derive(Default)]
struct Memory {
    young: HashMap<Box<str>, Arc<[u32]>>,
    old: HashMap<Box<str>, Arc<[u32]>>,
    /// The length of all text in `young`, in bytes.
    bytes: usize,
}

impl PromptTokenizer {
    /// Finds out from a sample where prompts can be split. `sample` is a rendered conversation of several turns.
    pub fn new(tokenizer: Arc<Tokenizer>, kept: Option<KeptTokens>, sample: &str) -> Self {
        let turn = turn_token(&tokenizer, sample);
        let mut prompts = Self { tokenizer, turn, memory: Mutex::default(), kept };
        let same = |prompts: &Self| Some(prompts.encode(sample).ok()? == prompts.tokenizer.encode(sample).ok()?);
        if same(&prompts) != Some(true) {
            prompts.turn = None;
        }
        prompts
    }

    /// The text's tokens, equal to those of [`Tokenizer::encode`].
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
        // Tokenize without holding the lock, so that other requests can use the cache meanwhile.
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

/// Splits the text before every occurrence of `turn`. There is no empty first part if the text starts with one.
fn pieces<'a>(text: &'a str, turn: &str) -> impl Iterator<Item = &'a str> {
    let cuts: Vec<usize> = text.match_indices(turn).map(|(at, _)| at).filter(|at| *at > 0).collect();
    let starts = std::iter::once(0).chain(cuts.clone());
    let ends = cuts.into_iter().chain([text.len()]);
    starts.zip(ends).map(|(start, end)| &text[start..end])
}

/// The most frequent control token of the sample; of equally frequent ones, the first.
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

    fn with_sample_turns() -> PromptTokenizer {
        PromptTokenizer::new(Tokenizer::load(&tiny_model()).unwrap(), None, SAMPLE)
    }

    #[test]
    fn prompts_are_cut_where_turns_begin() {
        let tokenizer = with_sample_turns();
        assert_eq!(tokenizer.turn.as_deref(), Some("<|im_start|>"));
        tokenizer.encode(SAMPLE).unwrap();
        assert_eq!(tokenizer.memory().young.len(), 3);
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
            thread_local!(static TOKENIZER: PromptTokenizer = with_sample_turns());
            let text = parts.concat();
            TOKENIZER.with(|tokenizer| assert_eq!(tokenizer.encode(&text).unwrap(), tokenizer.tokenizer.encode(&text).unwrap()));
        }
    }
}
