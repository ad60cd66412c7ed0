//! A token sequence and what the model has computed of it.

use std::time::{Duration, Instant};

use mlx_rs::error::Exception;

use crate::engine::EngineError;
use crate::engine::cache::{Payload, PrefixCache, Segment};
use crate::engine::model::{KvCache, KvSegment, Model, Run};

/// An answer's tokens become shareable in runs of so many.
const RUN: usize = 512;

/// Tokens computed, and the keys and values of exactly these.
pub struct Sequence {
    tokens: Vec<u32>,
    kv: KvCache,
}

impl Sequence {
    /// No token yet.
    pub fn new(model: &Model) -> Self {
        Self { tokens: Vec::new(), kv: model.new_cache() }
    }

    /// What the keys and values of a token take, in bytes: measured on one.
    pub fn token_bytes(model: &Model) -> Result<usize, Exception> {
        let mut kv = model.new_cache();
        model.prefill(&[0], &mut kv)?;
        kv.seal()?;
        Ok(kv.segments().iter().map(|segment| segment.payload.bytes()).sum())
    }

    /// The tokens computed.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What can be shared: covers all tokens after [`Sequence::seal`].
    pub fn segments(&self) -> &[Segment<KvSegment>] {
        self.kv.segments()
    }

    /// Starts over with what is known of a prompt.
    pub fn resume(&mut self, prompt: &[u32], known: Vec<Segment<KvSegment>>) {
        self.kv.resume(known);
        self.tokens.clear();
        self.tokens.extend_from_slice(&prompt[..self.kv.tokens()]);
    }

    /// Makes all tokens shareable.
    pub fn seal(&mut self) -> Result<(), Exception> {
        self.kv.seal()
    }

    /// Computes the prompt's next chunk, or less where less is left, and shares it; all but the prompt's last token are
    /// wanted. What others have computed in the meantime is taken over. Gives the time it took.
    pub fn prefill_chunk(
        &mut self,
        model: &Model,
        cache: &mut PrefixCache,
        prompt: &[u32],
        chunk: usize,
    ) -> Result<Duration, Exception> {
        let start = Instant::now();
        cache.catch_up(self, prompt)?;
        let left = &prompt[self.tokens.len()..prompt.len().saturating_sub(1)];
        let chunk = &left[..left.len().min(chunk)];
        if !chunk.is_empty() {
            model.prefill(chunk, &mut self.kv)?;
            self.tokens.extend_from_slice(chunk);
            cache.count_computed(chunk.len(), start.elapsed());
            cache.keep(self)?;
        }
        Ok(start.elapsed())
    }

    /// How many tokens can follow before what there is becomes shareable. No more may be computed in one step.
    pub fn room(&self) -> usize {
        RUN - self.kv.unsealed()
    }

    /// Computes the tokens that follow each of some sequences, all in one pass; gives the logits after each token, one row
    /// after the other. Every sequence has to be settled after it.
    pub fn step(model: &Model, growing: &mut [(&mut Self, &[u32])]) -> Result<Vec<f32>, EngineError> {
        let logits = model.logits(growing.iter_mut().map(|(sequence, tokens)| Run::new(tokens, &mut sequence.kv)).collect())?;
        growing.iter_mut().for_each(|(sequence, tokens)| sequence.tokens.extend_from_slice(tokens));
        Ok(logits)
    }

    /// After a step: takes back the last tokens, which turned out not to follow.
    pub fn settle(&mut self, refused: usize) -> Result<(), Exception> {
        self.kv.cut(refused);
        self.tokens.truncate(self.kv.tokens());
        if self.kv.unsealed() >= RUN { self.kv.seal() } else { Ok(()) }
    }
}
