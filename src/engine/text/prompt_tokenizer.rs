//! Tokenizes prompts turn by turn and caches the turns, because most of a prompt is the same as in the request
//! before.
//!
//! Prompts are split before the control token that starts each turn. This gives the same tokens as tokenizing the
//! whole prompt, since tokenizers first cut a text at its control tokens and then tokenize each part on its own.
//! Whether a tokenizer really works this way is checked on a sample; if not, prompts are tokenized whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::recent_tokens::RecentTokens;
use super::{KeptTokens, TokenKind, Tokenizer};
use crate::engine::EngineError;

/// How much the cached turns and their tokens may take, in bytes: a few dozen long conversations.
const MOST: usize = 32 * 1024 * 1024;

/// A tokenizer with a cache of turns.
pub struct PromptTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The control token that starts a turn; `None` if prompts are tokenized whole.
    turn: Option<String>,
    memory: Mutex<RecentTokens>,
    /// Tokens on disk, shared with other processes.
    kept: Option<KeptTokens>,
}

impl PromptTokenizer {
    /// Finds out from a sample where prompts can be split. `sample` is a rendered conversation of several turns.
    pub fn new(tokenizer: Arc<Tokenizer>, kept: Option<KeptTokens>, sample: &str) -> Self {
        let turn = turn_token(&tokenizer, sample);
        let mut prompts = Self { tokenizer, turn, memory: Mutex::new(RecentTokens::new(MOST)), kept };
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
        if let Some(tokens) = self.memory().get(piece.as_bytes()) {
            return Ok(tokens);
        }
        // Tokenize without holding the lock, so that other requests can use the cache meanwhile.
        let encode = || self.tokenizer.encode(piece);
        let tokens = match &self.kept {
            Some(kept) => kept.of(piece, encode)?,
            None => encode()?.into(),
        };
        self.memory().put(piece.as_bytes(), tokens.clone());
        Ok(tokens)
    }

    fn memory(&self) -> MutexGuard<'_, RecentTokens> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(tokenizer.memory().last_used_first().count(), 3);
        assert_eq!(pieces("a<t>b<t>", "<t>").collect::<Vec<_>>(), ["a", "<t>b", "<t>"]);
        assert_eq!(pieces("", "<t>").collect::<Vec<_>>(), [""]);
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
