//! A sequence on the device: its tokens and their KV cache, kept in step.

use std::time::{Duration, Instant};

use mlx_rs::error::Exception;

use super::memory;
use crate::engine::EngineError;
use crate::engine::cache::PrefixCache;
use crate::engine::model::{KvCache, KvSegment, Model, SequenceInput};
use crate::engine::segment::{Payload, SEGMENT_TOKENS, Segment};

/// How much memory a sequence takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceMemory {
    /// A token's keys and values in all layers.
    pub token: usize,
    /// The states of all recurrent layers, however many tokens there are.
    pub state: usize,
}

/// Computed tokens, and the keys and values of exactly these.
pub(crate) struct Sequence {
    tokens: Vec<u32>,
    kv: KvCache,
}

impl Sequence {
    /// An empty sequence.
    pub(crate) fn new(model: &Model) -> Self {
        Self { tokens: Vec::new(), kv: model.new_cache() }
    }

    /// Announces how many tokens it will reach, so that its buffers are allocated once.
    pub(crate) fn reserve(&mut self, tokens: usize) {
        self.kv.reserve(tokens);
    }

    /// Memory of a sequence: measured on a token.
    pub(crate) fn memory(model: &Model) -> Result<SequenceMemory, Exception> {
        let mut kv = model.new_cache();
        model.prefill(&[0], &mut kv)?;
        kv.seal()?;
        let token = kv.segments().iter().map(|segment| segment.payload.bytes()).sum();
        Ok(SequenceMemory { token, state: kv.state_bytes() })
    }

    /// Memory that it takes beside the segments which the prefix cache may share, in bytes.
    pub(crate) fn copied_bytes(&self) -> usize {
        self.kv.copied_bytes()
    }

    /// The computed tokens.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Continues from segments of the prefix cache, which cover the first of `tokens`: those computed here, and more.
    pub(crate) fn resume(&mut self, tokens: &[u32], segments: Vec<Segment<KvSegment>>) -> Result<(), Exception> {
        self.kv.reserve(tokens.len());
        self.kv.resume(segments)?;
        self.tokens.clear();
        self.tokens.extend_from_slice(&tokens[..self.kv.tokens()]);
        Ok(())
    }

    /// Continues from the prefix cache if it covers more of `tokens` than this sequence has computed.
    pub(crate) fn catch_up(&mut self, cache: &mut PrefixCache, tokens: &[u32]) -> Result<(), Exception> {
        if let Some(segments) = cache.extension(tokens, self.tokens.len())? {
            self.resume(tokens, segments)?;
        }
        Ok(())
    }

    /// Puts all computed tokens into the prefix cache, as what is computed in all.
    pub(crate) fn share(&mut self, cache: &mut PrefixCache) -> Result<(), Exception> {
        self.share_up_to_here(cache, true)
    }

    /// The same; `is_end`: no more tokens are computed.
    fn share_up_to_here(&mut self, cache: &mut PrefixCache, is_end: bool) -> Result<(), Exception> {
        self.kv.seal()?;
        self.kv.keep_checkpoint(cache.checkpoint_lasts(&self.tokens, is_end))?;
        cache.keep(&self.tokens, self.kv.segments())?;
        self.kv.forget_checkpoints();
        Ok(())
    }

    /// Computes and shares the next of `tokens`, at most `chunk`; what others have shared in the meantime is not computed
    /// again. Returns the time it took.
    pub(crate) fn prefill_chunk(
        &mut self,
        model: &Model,
        cache: &mut PrefixCache,
        tokens: &[u32],
        chunk: usize,
    ) -> Result<Duration, Exception> {
        let start = Instant::now();
        self.catch_up(cache, tokens)?;
        self.kv.reserve(tokens.len());
        let end = cache.chunk_end(tokens, self.tokens.len(), chunk);
        let chunk = &tokens[self.tokens.len()..end];
        if !chunk.is_empty() {
            model.prefill(chunk, &mut self.kv)?;
            self.tokens.extend_from_slice(chunk);
            cache.count_computed(chunk.len(), start.elapsed());
            self.share_up_to_here(cache, end == tokens.len())?;
            memory::give_back_pool(model.path())?;
        }
        Ok(start.elapsed())
    }

    /// How many tokens fit into the segment being filled. A step must not compute more.
    pub(crate) fn room(&self) -> usize {
        SEGMENT_TOKENS - self.kv.unsealed()
    }

    /// Computes the tokens that follow each of some sequences in one forward pass; returns the logits after each token,
    /// `[R, vocab]`. Every sequence must be settled afterwards.
    pub(crate) fn step(model: &Model, growing: &mut [(&mut Self, &[u32])]) -> Result<Vec<f32>, EngineError> {
        let inputs = growing.iter_mut().map(|(sequence, tokens)| SequenceInput::new(tokens, &mut sequence.kv));
        let logits = model.logits(inputs.collect())?;
        growing.iter_mut().for_each(|(sequence, tokens)| sequence.tokens.extend_from_slice(tokens));
        Ok(logits)
    }

    /// Ends a step: removes the last tokens, which were rejected, and seals the segment being filled if it is full.
    pub(crate) fn settle(&mut self, rejected: usize) -> Result<(), Exception> {
        self.kv.cut(rejected)?;
        self.tokens.truncate(self.kv.tokens());
        if self.kv.unsealed() < SEGMENT_TOKENS {
            return Ok(());
        }
        self.kv.seal()?;
        memory::give_back_pool(self.kv.path())
    }
}
