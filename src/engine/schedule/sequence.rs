//! A sequence on the device: its tokens and their KV cache, kept in step.

use std::time::{Duration, Instant};

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::device_memory;
use super::memory::SequenceMemory;
use crate::engine::cache::PrefixCache;
use crate::engine::model::{KvCache, KvSegment, KvState, Model, SequenceInput};
use crate::engine::segment::{Payload, SEGMENT_TOKENS, Segment};

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

    /// Copies the keys and values of sequences that decode together into joint buffers, or those of a single one back into buffers of
    /// its own. Only on the GPU path.
    pub(super) fn join(sequences: &mut [&mut Self]) -> Result<(), Exception> {
        KvCache::join(&mut sequences.iter_mut().map(|sequence| &mut sequence.kv).collect::<Vec<_>>())
    }

    /// Whether [`Self::join`] would change nothing.
    pub(super) fn are_joined(sequences: &[&Self]) -> bool {
        KvCache::are_joined(&sequences.iter().map(|sequence| &sequence.kv).collect::<Vec<_>>())
    }

    /// The memory that joining would take, in bytes, where a token takes `token_bytes`.
    pub(super) fn bytes_to_join(sequences: &[&Self], token_bytes: usize) -> usize {
        KvCache::bytes_to_join(&sequences.iter().map(|sequence| &sequence.kv).collect::<Vec<_>>(), token_bytes)
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

    /// Puts all computed tokens into the prefix cache, at the end of the computation.
    pub(crate) fn share(&mut self, cache: &mut PrefixCache) -> Result<(), Exception> {
        self.share_up_to_here(cache, true)
    }

    /// Puts all computed tokens into the prefix cache. `is_end`: no more tokens follow for this prompt.
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
            device_memory::give_back_pool(model.path())?;
        }
        Ok(start.elapsed())
    }

    /// How many tokens fit into the segment being filled. A step must not compute more.
    pub(crate) fn room(&self) -> usize {
        SEGMENT_TOKENS - self.kv.unsealed()
    }

    /// Builds one forward pass over the tokens that follow each of some sequences; returns the logits after each token,
    /// `[R, vocab]`, which MLX may not have computed yet. Every sequence must be settled afterwards.
    pub(super) fn step(model: &Model, growing: &mut [(&mut Self, &[u32])]) -> Result<Array, Exception> {
        let inputs = growing.iter_mut().map(|(sequence, tokens)| SequenceInput::new(tokens, &mut sequence.kv));
        let logits = in_rows(model.lazy_logits(inputs.collect())?)?;
        growing.iter_mut().for_each(|(sequence, tokens)| sequence.tokens.extend_from_slice(tokens));
        Ok(logits)
    }

    /// Builds the pass over one more token of each sequence, `[1]`, that the device has still to choose, and leaves the sequences
    /// as they were. Returns the logits, `[R, vocab]`, and what [`Self::adopt`] takes for each sequence.
    pub(super) fn step_ahead(model: &Model, growing: &mut [(&mut Self, &Array)]) -> Result<(Array, Vec<KvState>), Exception> {
        let mut states: Vec<KvState> = growing.iter().map(|(sequence, _)| sequence.kv.state()).collect();
        let inputs = growing.iter_mut().map(|(sequence, token)| SequenceInput::coming(token, &mut sequence.kv));
        let logits = model.lazy_logits(inputs.collect()).and_then(in_rows);
        growing.iter_mut().zip(&mut states).for_each(|((sequence, _), state)| sequence.kv.exchange(state));
        Ok((logits?, states))
    }

    /// Takes up a pass that was built ahead, now that its token is known.
    pub(super) fn adopt(&mut self, token: u32, mut ahead: KvState) {
        self.kv.exchange(&mut ahead);
        self.tokens.push(token);
    }

    /// Ends a step: removes the last tokens, which were rejected, and seals the segment being filled if it is full.
    pub(crate) fn settle(&mut self, rejected: usize) -> Result<(), Exception> {
        self.kv.cut(rejected)?;
        self.tokens.truncate(self.kv.tokens());
        if self.kv.unsealed() < SEGMENT_TOKENS {
            return Ok(());
        }
        self.kv.seal()?;
        device_memory::give_back_pool(self.kv.path())
    }
}

/// Logits `[n, R / n, vocab]` as `[R, vocab]`.
fn in_rows(logits: Array) -> Result<Array, Exception> {
    logits.reshape(&[-1, logits.dim(-1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::{ComputePath, wait};
    use crate::engine::testing::{gemma4, glm_lite, hybrid, model_with, prompt};

    #[test]
    fn a_pass_built_ahead_leaves_no_trace_until_it_is_adopted() {
        for config in [serde_json::json!({}), hybrid(), gemma4(), glm_lite()] {
            let (_dir, model) = model_with(&config, ComputePath::Gpu);
            let coming = Array::from_slice(&[7u32], &[1]);
            let prefilled = || {
                let mut sequence = Sequence::new(&model);
                model.prefill(&prompt(70), &mut sequence.kv).unwrap();
                sequence.tokens.extend(prompt(70));
                step(&model, &mut sequence, 5);
                sequence
            };
            let mut plain = prefilled();
            let wanted = [step(&model, &mut plain, 7), step(&model, &mut plain, 9)];

            let mut adopting = prefilled();
            let (logits, mut states) = Sequence::step_ahead(&model, &mut [(&mut adopting, &coming)]).unwrap();
            assert_eq!((adopting.tokens.len(), adopting.kv.tokens()), (71, 71));
            adopting.adopt(7, states.remove(0));
            wait([&logits]).unwrap();
            assert_eq!([logits.as_slice::<f32>().to_vec(), step(&model, &mut adopting, 9)], wanted);
            assert_eq!(adopting.tokens, plain.tokens);

            // Dropped, also where a draft follows of which the last token is rejected.
            let mut dropping = prefilled();
            drop(Sequence::step_ahead(&model, &mut [(&mut dropping, &coming)]).unwrap());
            assert_eq!(step(&model, &mut dropping, 7), wanted[0]);
            let mut dropping = prefilled();
            drop(Sequence::step_ahead(&model, &mut [(&mut dropping, &coming)]).unwrap());
            Sequence::step(&model, &mut [(&mut dropping, &[7, 100])]).unwrap();
            dropping.settle(1).unwrap();
            let after = step(&model, &mut dropping, 9);
            assert!(after.iter().zip(&wanted[1]).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    /// The logits after one more token.
    fn step(model: &Model, sequence: &mut Sequence, token: u32) -> Vec<f32> {
        let logits = Sequence::step(model, &mut [(sequence, &[token])]).unwrap();
        wait([&logits]).unwrap();
        sequence.settle(0).unwrap();
        logits.as_slice::<f32>().to_vec()
    }
}
