//! One answer in work: its prompt is computed chunk by chunk, then it grows token by token, or by several where they were
//! guessed. Who does what when is the worker's.

use std::time::{Duration, Instant};

use super::generation::{EngineEvent, EventSender, Finished, Generation, Stop};
use super::memory::MemoryLimit;
use super::prompt_lookup::{Drafts, MOST};
use super::sequence::Sequence;
use crate::engine::EngineError;
use crate::engine::cache::PrefixCache;
use crate::engine::decode::Sampler;
use crate::engine::decode::{AnswerDecoder, Piece};
use crate::engine::model::Model;

/// An answer in work.
pub struct Answering {
    generation: Generation,
    events: EventSender,
    sequence: Sequence,
    /// The token to compute next, once the prompt is: its last one, then what was sampled.
    next: u32,
    drafts: Drafts,
    output_tokens: usize,
    prefill: Duration,
    decode: Duration,
}

/// The tokens of a step: the one sampled last, and those that may follow it.
struct Guess {
    tokens: Vec<u32>,
    /// Whether those that may follow are copied from earlier ones.
    copied: bool,
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
        Ok(Self { generation, events, sequence, next, drafts: Drafts::default(), output_tokens: 0, prefill, decode })
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

    /// One token more for each of these answers, or several where a guess is right, all computed in one pass; how each ended,
    /// where it did.
    ///
    /// What the device refuses is an error for all; what is wrong with one answer is its own.
    pub fn step(model: &Model, answers: &mut [&mut Self]) -> Vec<Result<Option<Finished>, EngineError>> {
        let start = Instant::now();
        let guesses: Vec<Guess> = answers.iter_mut().map(|answer| answer.guess()).collect();
        let mut growing: Vec<_> =
            answers.iter_mut().zip(&guesses).map(|(answer, guess)| (&mut answer.sequence, &guess.tokens[..])).collect();
        match Sequence::step(model, &mut growing) {
            Err(error) => answers.iter().map(|_| Err(error.clone())).collect(),
            Ok(logits) => {
                let (width, mut rest) = (model.config().vocab_size, &logits[..]);
                let each = answers.iter_mut().zip(guesses).map(|(answer, guess)| {
                    let (rows, others) = rest.split_at(guess.tokens.len() * width);
                    rest = others;
                    answer.take(rows.chunks_exact(width), &guess, start)
                });
                each.collect()
            }
        }
    }

    /// What to compute next: the token sampled last, and what may follow it.
    fn guess(&mut self) -> Guess {
        let Generation { decoder, max_tokens, .. } = &self.generation;
        // The first token is waited for; guesses beyond the last one are of no use.
        let most = if self.output_tokens == 0 { 0 } else { max_tokens.saturating_sub(self.output_tokens + 1) };
        let most = most.min(MOST).min(self.sequence.room() - 1);
        let mut follows = if most > 0 { decoder.forced() } else { vec![] };
        let mut copied = false;
        if follows.is_empty() && most > 0 {
            follows = self.drafts.copy(self.sequence.tokens(), self.next, most);
            copied = true;
        }
        follows.truncate(most);
        follows.insert(0, self.next);
        Guess { tokens: follows, copied }
    }

    /// Samples after each token computed, as long as that gives the next one, at a step that began at `start`; tells what it
    /// adds to the answer.
    fn take<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [f32]>,
        guess: &Guess,
        start: Instant,
    ) -> Result<Option<Finished>, EngineError> {
        let first = self.output_tokens == 0;
        if first {
            self.prefill += start.elapsed();
        }
        let guessed = &guess.tokens[1..];
        let (mut right, mut stop) = (0, Ok(None));
        for logits in rows {
            stop = self.push_next(logits);
            if !matches!(stop, Ok(None)) || guessed.get(right) != Some(&self.next) {
                break;
            }
            right += 1;
        }
        if guess.copied && !guessed.is_empty() {
            self.drafts.judge(guessed.len(), right);
        }
        self.sequence.settle(guessed.len() - right)?;
        if !first {
            self.decode += start.elapsed();
        }
        let Some(stop) = stop? else { return Ok(None) };
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

    /// Samples a token and tells what it adds; why the answer ends with it, if it does.
    fn push_next(&mut self, logits: &[f32]) -> Result<Option<Stop>, EngineError> {
        let Generation { decoder, sampler, max_tokens, .. } = &mut self.generation;
        self.next = next_token(logits, decoder, sampler)?;
        self.output_tokens += 1;
        let pieces = decoder.push(self.next)?;
        let stop = stop(decoder, self.output_tokens, *max_tokens);
        self.send(pieces);
        Ok(stop)
    }

    /// Leaves what was computed in the cache; only then tells how it ended, so that who asks next finds it there. After an
    /// error nobody knows what was computed.
    pub fn end(mut self, cache: &mut PrefixCache, outcome: Result<Option<Finished>, EngineError>) {
        let event = match outcome.and_then(|finished| Ok((finished, cache.keep(&mut self.sequence)?))) {
            Ok((Some(finished), ())) => Ok(EngineEvent::Finished(finished)),
            // Nobody waits for it.
            Ok((None, ())) => return,
            Err(error) => Err(error),
        };
        let _ = self.events.send(event);
    }

    fn send(&self, pieces: Vec<Piece>) {
        pieces.into_iter().for_each(|piece| drop(self.events.send(Ok(EngineEvent::Piece(piece)))));
    }
}

/// Whether and why the answer ends with the token pushed last.
fn stop(decoder: &AnswerDecoder, output_tokens: usize, max_tokens: usize) -> Option<Stop> {
    if let Some(text) = decoder.stop_sequence() {
        return Some(Stop::Sequence(text.to_string()));
    }
    if decoder.is_finished() {
        return Some(Stop::End);
    }
    (output_tokens >= max_tokens).then_some(Stop::MaxTokens)
}

fn next_token(logits: &[f32], decoder: &mut AnswerDecoder, sampler: &mut Sampler) -> Result<u32, EngineError> {
    let token = match decoder.mask()? {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    token.ok_or_else(|| EngineError::Device("the model gave no usable logit for any token that may follow".into()))
}

#[cfg(test)]
mod tests;
