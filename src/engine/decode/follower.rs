//! A place in a grammar, and the tokens that may come there.

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokTrie};

use crate::engine::EngineError;

/// The tokens that may come next: one bit per token id.
pub struct TokenMask(SimpleVob);

impl TokenMask {
    /// Allows these tokens and no others.
    pub fn only(vocab_size: usize, tokens: &[u32]) -> Self {
        let mut allowed = SimpleVob::alloc(vocab_size);
        tokens.iter().for_each(|token| allowed.allow_token(*token));
        Self(allowed)
    }

    /// Allows every token except these.
    pub fn all_but(vocab_size: usize, tokens: &[u32]) -> Self {
        let mut allowed = SimpleVob::alloc_ones(vocab_size);
        tokens.iter().for_each(|token| allowed.disallow_token(*token));
        Self(allowed)
    }

    /// Allows this token as well.
    pub fn allow(&mut self, token: u32) {
        self.0.allow_token(token);
    }

    /// Whether the token may come next. Ids beyond the tokenizer's vocabulary never may: a model's output can be
    /// padded with some.
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// The allowed token ids, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter()
    }
}

/// A compiled grammar, at its beginning.
pub(super) struct Grammar {
    matcher: Matcher,
    /// The memory that its automaton takes, in bytes. Does not grow: who follows it has an automaton of its own.
    bytes: usize,
}

impl Grammar {
    /// A grammar whose automaton takes so many bytes.
    pub(super) fn new(matcher: Matcher, bytes: usize) -> Self {
        Self { matcher, bytes }
    }

    /// The memory that the grammar's automaton takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins to follow the grammar. The automaton is copied, since it grows with what is generated, and one that has outgrown its
    /// limits is of no use to anybody any more.
    pub(super) fn follow(&self) -> Follower {
        Follower(self.matcher.deep_clone())
    }

    /// The keywords of the schema that llguidance ignored.
    pub(super) fn not_enforced(&mut self) -> Vec<String> {
        self.matcher.grammar_warnings().into_iter().map(|warning| in_our_words(&warning)).collect()
    }
}

/// A position in a compiled grammar, advanced token by token. Clones advance independently, and share an automaton.
#[derive(Clone)]
pub(super) struct Follower(Matcher);

impl Follower {
    /// The tokens that the grammar allows next.
    ///
    /// # Errors
    /// The grammar's automaton has outgrown llguidance's limits.
    pub(super) fn mask(&mut self) -> Result<TokenMask, EngineError> {
        self.0.compute_mask().map(TokenMask).map_err(|error| EngineError::Grammar(error.to_string()))
    }

    /// Advances past this token.
    ///
    /// # Errors
    /// The grammar does not allow the token here.
    pub(super) fn push(&mut self, token: u32) -> Result<(), EngineError> {
        self.0.consume_token(token).map_err(|error| {
            EngineError::Device(format!("token {token} was generated where the answer's grammar does not allow it: {error}"))
        })
    }

    /// The bytes that must come next because the grammar allows nothing else. Stops before added tokens, which have no bytes.
    pub(super) fn forced(&self) -> Vec<u8> {
        // Computing them advances the matcher, so a copy is asked.
        let mut bytes = self.clone().0.compute_ff_bytes();
        bytes.truncate(bytes.iter().position(|byte| *byte == TokTrie::SPECIAL_TOKEN_MARKER).unwrap_or(bytes.len()));
        bytes
    }

    /// Whether the grammar is at its end: nothing more can follow.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_stopped() && !self.0.is_error()
    }
}

/// Rewords llguidance's warning about an ignored keyword.
fn in_our_words(warning: &str) -> String {
    let keys = warning.split_once("Unimplemented keys: ").and_then(|(_, keys)| serde_json::from_str::<Vec<String>>(keys).ok());
    match (keys, warning.split_once("Unknown format: ")) {
        (Some(keys), _) => keys.join(", "),
        (_, Some((_, format))) => format!("format {format:?}"),
        _ if warning.contains("oneOf") => "oneOf with branches that may overlap".into(),
        _ if warning.contains("min/maxProperties") => "minProperties or maxProperties beside optional properties".into(),
        _ => warning.to_owned(),
    }
}
