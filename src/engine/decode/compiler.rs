//! Constrained decoding: compiles grammars for a model's vocabulary with llguidance.

use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::budget::Budget;
use super::follower::Grammar;
use crate::engine::text::{TokenKind, Tokenizer};
use crate::engine::{EngineError, deep_stack};

/// The stack of a thread that compiles, in bytes. Only the pages in use take memory.
const STACK: usize = 128 << 20;

/// Compiles grammars over one vocabulary.
pub(super) struct Compiler {
    factory: ParserFactory,
    /// How many were compiled so far.
    #[cfg(test)]
    pub(super) compilations: AtomicUsize,
}

impl Compiler {
    /// Prepares the vocabulary, whose answers end with one of these tokens.
    ///
    /// # Errors
    /// llguidance refuses the vocabulary.
    pub(super) fn new(tokenizer: &Tokenizer, ends: &[u32], limits: ParserLimits) -> Result<Self, EngineError> {
        let refused = |error| EngineError::Device(format!("the vocabulary cannot be constrained: {error}"));
        let mut factory = ParserFactory::new_simple(&token_environment(tokenizer, ends)).map_err(refused)?;
        factory.set_stderr_log_level(0);
        *factory.limits_mut() = limits;
        Ok(Self {
            factory,
            #[cfg(test)]
            compilations: AtomicUsize::new(0),
        })
    }

    /// Compiles a grammar in llguidance's dialect of Lark.
    ///
    /// # Errors
    /// The budget is at its end, or llguidance refuses the grammar: the reason is in its words.
    pub(super) fn compile(&self, lark: String, budget: &Budget) -> Result<Grammar, String> {
        budget.take(&lark).map_err(|stop| stop.to_string())?;
        #[cfg(test)]
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let parser = self.factory.create_parser(TopLevelGrammar::from_lark(lark));
        let bytes = parser.as_ref().map_or(0, |parser| parser.parser.lexer_stats().num_bytes);
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => {
                let line = error.lines().next().unwrap_or_default();
                Err(line.split_once("failed to compile JSON schema: ").map_or(line, |(_, reason)| reason).to_owned())
            }
            None => Ok(Grammar::new(matcher, bytes)),
        }
    }
}

/// Runs this on a thread with a deep stack: llguidance recurses for each rule that leads to another, and a format that writes one
/// rule for each argument has a thousand of them.
///
/// # Errors
/// The thread cannot be started, or it panicked.
pub(super) fn on_a_deep_stack<T: Send>(compile: impl FnOnce() -> T + Send) -> Result<T, EngineError> {
    let failed = |reason: &str| EngineError::Device(format!("a grammar cannot be compiled: {reason}"));
    deep_stack::run("grammar", STACK, compile)
        .map_err(|error| failed(&error.to_string()))?
        .map_err(|_| failed("the compiler failed"))
}

/// The vocabulary for llguidance. Added tokens are marked as special, so that none is accepted for its text inside JSON.
fn token_environment(tokenizer: &Tokenizer, ends: &[u32]) -> TokEnv {
    let words = (0..tokenizer.vocab_size() as u32).map(|token| match (tokenizer.kind(token), tokenizer.bytes(token)) {
        (TokenKind::Text, bytes) => bytes.to_vec(),
        (_, []) => vec![],
        (_, bytes) => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
    });
    let words: Vec<_> = words.collect();
    let info = TokRxInfo::new(words.len() as u32, ends[0]);
    Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words).with_eos_tokens(ends)))
}
