//! Segments: what the model's KV cache and the prefix cache exchange. Both know this file and not each other.

/// Most tokens of a segment: an answer is sealed into segments of this length, shorter neighbours in the prefix cache are
/// joined up to it, and prompts are prefilled in chunks of it unless told otherwise.
///
/// Attention visits the segments one by one, so they should not be short; what two prompts do not share is copied out of a
/// segment, so they should not be long either.
pub(super) const SEGMENT_TOKENS: usize = 512;

/// An immutable range of tokens and what was computed for it.
#[derive(Clone, Debug)]
pub struct Segment<P> {
    /// Number of tokens.
    pub tokens: usize,
    /// What was computed for these tokens.
    pub payload: P,
}

/// What a segment holds for its tokens: keys and values, or something cheap in tests. Clones must share memory.
pub trait Payload: Clone {
    /// Why memory could not be copied.
    type CopyError;

    /// Memory of its tokens, in bytes.
    fn bytes(&self) -> usize;

    /// A view of the first `tokens` tokens; it shares memory with the whole.
    fn first(&self, tokens: usize) -> Result<Self, Self::CopyError>;

    /// Copies of the first `tokens` tokens and of the rest.
    fn split(&self, tokens: usize) -> Result<(Self, Self), Self::CopyError>;

    /// A copy of both, one after the other.
    fn join(&self, next: &Self) -> Result<Self, Self::CopyError>;

    /// Whether a sequence can go on after the first `tokens` tokens. Where layers are recurrent, only after all of them, and only
    /// if there is a [`Payload::checkpoint`].
    fn resumes_after(&self, tokens: usize) -> bool {
        let _ = tokens;
        true
    }

    /// The state after the last token that only serves to go on from there; `None` also where none is needed.
    fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }

    /// The same tokens with the checkpoint of another payload that ends with the same token; `None`: without one.
    fn with_checkpoint_of(&self, other: Option<&Self>) -> Self {
        let _ = other;
        self.clone()
    }
}

/// What the prefix cache needs to know of a checkpoint: the state of recurrent layers after a segment's last token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its memory. It is part of [`Payload::bytes`].
    pub bytes: usize,
    /// Whether it is worth keeping once a later one is there.
    pub lasting: bool,
}
