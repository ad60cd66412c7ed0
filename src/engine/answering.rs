//! One answer in work: its prompt is computed chunk by chunk, then it grows token by token. Who does what when is the
//! worker's.

use std::time::{Duration, Instant};

use super::EngineError;
use super::answer::{AnswerDecoder, Piece};
use super::cache::PrefixCache;
use super::generation::{CLOSING_TOKENS, EngineEvent, EventSender, Finished, Generation, Stop};
use super::memory::MemoryLimit;
use super::model::Model;
use super::sampler::Sampler;
use super::sequence::Sequence;

/// An answer in work.
pub struct Answering {
    generation: Generation,
    events: EventSender,
    sequence: Sequence,
    /// The token to compute next, once the prompt is: its last one, then what was sampled.
    next: u32,
    output_tokens: usize,
    prefill: Duration,
    decode: Duration,
}

impl Answering {
    /// Starts with what the cache knows of the prompt, and tells `events` so.
    pub fn start(
        model: &Model,
        cache: &mut PrefixCache,
        generation: Generation,
        events: EventSender,
    ) -> Result<Self, EngineError> {
        let Some(&next) = generation.prompt.last() else {
            return Err(EngineError::Request("the prompt is empty".into()));
        };
        let mut sequence = Sequence::new(model);
        cache.start(&mut sequence, &generation.prompt)?;
        let (prompt_tokens, cached_tokens) = (generation.prompt.len(), sequence.tokens().len());
        let _ = events.send(Ok(EngineEvent::Started { prompt_tokens, cached_tokens }));
        let (prefill, decode) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { generation, events, sequence, next, output_tokens: 0, prefill, decode })
    }

    /// Whether somebody still waits for it.
    pub fn is_wanted(&self) -> bool {
        !self.events.is_closed()
    }

    /// Whether there is more of the prompt to compute than its last token.
    pub fn is_prefilling(&self) -> bool {
        self.output_tokens == 0 && self.sequence.tokens().len() + 1 < self.generation.prompt.len()
    }

    /// Tokens computed, of the prompt and the answer.
    #[cfg(test)]
    pub fn computed(&self) -> usize {
        self.sequence.tokens().len()
    }

    /// Tokens generated.
    #[cfg(test)]
    pub fn output_tokens(&self) -> usize {
        self.output_tokens
    }

    /// What it will still take, in bytes.
    pub fn to_come(&self, memory: &MemoryLimit) -> usize {
        let whole = memory.whole(self.generation.prompt.len(), self.generation.max_tokens);
        whole.saturating_sub(self.sequence.tokens().len() * memory.token_bytes)
    }

    /// Computes the next chunk of the prompt.
    pub fn prefill_chunk(&mut self, model: &Model, cache: &mut PrefixCache, chunk: usize) -> Result<(), EngineError> {
        self.prefill += self.sequence.prefill_chunk(model, cache, &self.generation.prompt, chunk)?;
        Ok(())
    }

    /// One token more for each of these answers, all computed in one pass; how each ended, where it did.
    ///
    /// What the device refuses is an error for all; what is wrong with one answer is its own.
    pub fn step(model: &Model, answers: &mut [&mut Self]) -> Vec<Result<Option<Finished>, EngineError>> {
        let start = Instant::now();
        let mut growing: Vec<_> =
            answers.iter_mut().map(|answer| (&mut answer.sequence, std::slice::from_ref(&answer.next))).collect();
        match Sequence::step(model, &mut growing) {
            Err(error) => answers.iter().map(|_| Err(error.clone())).collect(),
            Ok(logits) => {
                let rows = logits.chunks_exact(model.config().vocab_size);
                answers.iter_mut().zip(rows).map(|(answer, logits)| answer.take(logits, start)).collect()
            }
        }
    }

    /// Samples the token after the one computed, at a step that began at `start`, and tells what it adds to the answer.
    fn take(&mut self, logits: &[f32], start: Instant) -> Result<Option<Finished>, EngineError> {
        if self.output_tokens == 0 {
            self.prefill += start.elapsed();
        }
        let Generation { decoder, sampler, max_tokens, .. } = &mut self.generation;
        let token = next_token(logits, decoder, sampler)?;
        self.next = token;
        self.output_tokens += 1;
        let pieces = decoder.push(token)?;
        let stop = stop(decoder, self.output_tokens, *max_tokens);
        self.send(pieces);
        if self.output_tokens > 1 {
            self.decode += start.elapsed();
        }
        let Some(stop) = stop else { return Ok(None) };
        let pieces = self.generation.decoder.finish();
        self.send(pieces);
        Ok(Some(Finished {
            stop,
            called_tool: self.generation.decoder.called_tool(),
            output_tokens: self.output_tokens,
            prefill: self.prefill,
            decode: self.decode,
        }))
    }

    /// Leaves what was computed in the cache; only then tells how it ended, so that who asks next finds it there.
    pub fn end(mut self, cache: &mut PrefixCache, outcome: Result<Option<Finished>, EngineError>) {
        let kept = cache.keep(&mut self.sequence).map_err(EngineError::from);
        let event = match (outcome, kept) {
            (Ok(Some(finished)), Ok(())) => Ok(EngineEvent::Finished(finished)),
            // Nobody waits for it.
            (Ok(None), Ok(())) => return,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        let _ = self.events.send(event);
    }

    fn send(&self, pieces: Vec<Piece>) {
        pieces.into_iter().for_each(|piece| drop(self.events.send(Ok(EngineEvent::Piece(piece)))));
    }
}

/// Whether and why the answer ends with the token pushed last.
fn stop(decoder: &mut AnswerDecoder, output_tokens: usize, max_tokens: usize) -> Option<Stop> {
    if let Some(text) = decoder.stop_sequence() {
        return Some(Stop::Sequence(text.to_string()));
    }
    if decoder.is_finished() {
        // Past the limit the answer only closed its tool call.
        return Some(if output_tokens > max_tokens { Stop::MaxTokens } else { Stop::End });
    }
    let over = output_tokens >= max_tokens && (output_tokens >= max_tokens + CLOSING_TOKENS || !decoder.wind_down());
    over.then_some(Stop::MaxTokens)
}

fn next_token(logits: &[f32], decoder: &mut AnswerDecoder, sampler: &mut Sampler) -> Result<u32, EngineError> {
    let token = match decoder.mask()? {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    token.ok_or_else(|| EngineError::Device("the model gave no usable logit for any token that may follow".into()))
}
