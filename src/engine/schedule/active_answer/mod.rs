//! One active answer: its prompt is prefilled chunk by chunk, then it is decoded token by token, or several at a time where a
//! draft is accepted. The worker decides when.
//!
//! `step` computes for all decoding answers together; here is what each of them makes of its rows.

mod joining;
mod step;

use std::time::{Duration, Instant};

use self::step::Submitted;

use super::generation::{EndReason, EngineEvent, EventSender, Finished, Generation};
use super::memory::{self, MemoryLimit};
use super::output_limits::{OutputLimits, OutputWatch};
use super::prompt_lookup::{MAX_DRAFT_TOKENS, PromptLookup};
use super::sequence::Sequence;
use crate::engine::EngineError;
use crate::engine::cache::PrefixCache;
use crate::engine::decode::{AnswerDecoder, Piece, Sampler, TokenMask};
use crate::engine::model::Model;

/// An answer in work on the device's thread.
pub(super) struct ActiveAnswer {
    generation: Generation,
    events: EventSender,
    /// The tokens computed so far, and those of the step in work.
    sequence: Sequence,
    /// What to compute next in decoding.
    next: DraftedStep,
    /// The step in work, which computes `next`.
    submitted: Option<Submitted>,
    lookup: PromptLookup,
    watch: OutputWatch,
    output_tokens: usize,
    /// Tokens generated since its keys and values were last copied, for `joining`.
    decoded_since_copy: usize,
    prefill: Duration,
    decode: Duration,
}

/// How an answer leaves the device's thread.
pub(super) enum AnswerEnding {
    /// It is complete.
    Finished(Finished),
    /// Nobody waits for it any more.
    Unwanted,
    Failed(EngineError),
}

/// The tokens that an answer computes in one step.
struct DraftedStep {
    /// The prompt's last token or the one sampled last, then the drafted ones, if any.
    tokens: Vec<u32>,
    /// Whether prompt lookup proposed them: it learns from what is accepted.
    from_lookup: bool,
}

impl ActiveAnswer {
    /// Starts with the segments that the cache has of the prompt, and sends [`EngineEvent::Started`].
    pub(super) fn start(
        model: &Model,
        cache: &mut PrefixCache,
        generation: Generation,
        limits: OutputLimits,
        events: EventSender,
    ) -> Result<Self, EngineError> {
        let Some(&next) = generation.prompt.last() else {
            return Err(EngineError::Request("the prompt is empty".into()));
        };
        let mut sequence = Sequence::new(model);
        sequence.reserve(memory::reserved_tokens(generation.prompt.len(), generation.max_tokens));
        sequence.resume(&generation.prompt, cache.start(&generation.prompt)?)?;
        let (prompt_tokens, cached_tokens) = (generation.prompt.len(), sequence.tokens().len());
        let _ = events.send(Ok(EngineEvent::Started { prompt_tokens, cached_tokens }));
        let (prefill, decode) = (Duration::ZERO, Duration::ZERO);
        // No draft before the first token, whose latency the client notices.
        let next = DraftedStep { tokens: vec![next], from_lookup: false };
        let (lookup, watch) = (PromptLookup::default(), OutputWatch::new(limits));
        let (output_tokens, decoded_since_copy) = (0, 0);
        Ok(Self {
            generation,
            events,
            sequence,
            next,
            submitted: None,
            lookup,
            watch,
            output_tokens,
            decoded_since_copy,
            prefill,
            decode,
        })
    }

    /// Whether somebody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.events.is_closed()
    }

    /// Whether more of the prompt is left to compute than its last token, which is the first one to decode.
    pub(super) fn is_prefilling(&self) -> bool {
        self.output_tokens == 0 && self.sequence.tokens().len() < self.to_prefill().len()
    }

    /// The prompt without its last token.
    fn to_prefill(&self) -> &[u32] {
        let prompt = &self.generation.prompt;
        &prompt[..prompt.len() - 1]
    }

    /// Tokens computed so far, of prompt and answer.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.sequence.tokens().len()
    }

    /// Tokens generated so far.
    #[cfg(test)]
    pub(super) fn output_tokens(&self) -> usize {
        self.output_tokens
    }

    /// Memory that the rest of the answer will take, in bytes.
    pub(super) fn bytes_to_come(&self, memory: &MemoryLimit) -> usize {
        let whole = memory.whole(self.generation.prompt.len(), self.generation.max_tokens);
        whole.saturating_sub(self.sequence.tokens().len() * memory.token_bytes + self.sequence.copied_bytes())
    }

    /// Computes the next tokens of the prompt, at most `chunk`.
    pub(super) fn prefill_chunk(&mut self, model: &Model, cache: &mut PrefixCache, chunk: usize) -> Result<(), EngineError> {
        let prompt = &self.generation.prompt;
        self.prefill += self.sequence.prefill_chunk(model, cache, &prompt[..prompt.len() - 1], chunk)?;
        Ok(())
    }

    /// The token sampled last and a draft of what follows: what the sampler was taught, else what the grammar requires, else what
    /// prompt lookup proposes.
    fn draft(&mut self, last: u32) -> DraftedStep {
        let Generation { decoder, sampler, max_tokens, .. } = &self.generation;
        // None beyond the last token.
        let most = max_tokens.saturating_sub(self.output_tokens + 1);
        let most = most.min(MAX_DRAFT_TOKENS).min(self.sequence.room() - 1);
        let mut tokens = if most > 0 { sampler.taught() } else { vec![] };
        if tokens.is_empty() && most > 0 {
            tokens = decoder.forced();
        }
        let mut from_lookup = false;
        if tokens.is_empty() && most > 0 {
            tokens = self.lookup.propose(self.sequence.tokens(), last, most);
            from_lookup = true;
        }
        tokens.truncate(most);
        tokens.insert(0, last);
        DraftedStep { tokens, from_lookup }
    }

    /// Verifies the draft of a computed step: samples row by row until a sample differs from the drafted token. Sends what the
    /// accepted tokens add; `start` is when the step began.
    fn verify(&mut self, mut step: Submitted, start: Instant) -> Result<Option<Finished>, EngineError> {
        let first = self.output_tokens == 0;
        if first {
            self.prefill += start.elapsed();
        }
        let drafted = self.next.tokens.split_off(1);
        let (mut accepted, mut last, mut end) = (0, None, Ok(None));
        for row in 0..step.rows() {
            match self.sample(&mut step, row) {
                Ok((token, None)) => last = Some(token),
                Ok((_, reason)) => end = Ok(reason),
                Err(error) => end = Err(error),
            }
            if !matches!(end, Ok(None)) || drafted.get(accepted).copied() != last {
                break;
            }
            accepted += 1;
        }
        if self.next.from_lookup && !drafted.is_empty() {
            self.lookup.adapt(drafted.len(), accepted);
        }
        self.sequence.settle(drafted.len() - accepted)?;
        if !first {
            self.decode += start.elapsed();
        }
        let Some(reason) = end?.or_else(|| self.watch.repetition(&self.sequence.tokens()[self.generation.prompt.len()..])) else {
            // Cannot fail: a step has a row, and without an end its token was sampled.
            self.next = self.draft(last.ok_or_else(|| EngineError::Device("a step without a token".into()))?);
            return Ok(None);
        };
        self.report(&reason);
        let pieces = self.generation.decoder.finish();
        self.send(pieces);
        Ok(Some(Finished {
            reason,
            called_tool: self.generation.decoder.called_tool(),
            output_tokens: self.output_tokens,
            prefill: self.prefill,
            decode: self.decode,
            choices: self.generation.decoder.take_choices(),
        }))
    }

    /// Samples the token after a row of a step and sends what it adds. Returns it, and why the answer ends with it, if it does.
    fn sample(&mut self, step: &mut Submitted, row: usize) -> Result<(u32, Option<EndReason>), EngineError> {
        let Generation { decoder, sampler, max_tokens, .. } = &mut self.generation;
        let mask = if row == 0 { step.first_mask()? } else { decoder.mask()? };
        let token = match step.chosen(row, mask.as_ref(), sampler)? {
            Some(token) => token,
            None => sampled(step.logits(row)?, mask.as_ref(), sampler)?,
        };
        if decoder.weighs() {
            decoder.weigh(token, step.logits(row)?, mask.as_ref());
        }
        self.output_tokens += 1;
        self.decoded_since_copy += 1;
        let pieces = decoder.push(token)?;
        let full = self.watch.is_full(self.output_tokens).then_some(EndReason::OutputLimit);
        let reason = end_reason(decoder, self.output_tokens, *max_tokens).or(full);
        self.send(pieces);
        Ok((token, reason))
    }

    /// Says in the log where the answer had to end although its request left it room.
    fn report(&self, reason: &EndReason) {
        let tokens = self.output_tokens;
        match reason {
            EndReason::OutputLimit => tracing::warn!(tokens, "an answer was cut: it reached the output limit"),
            EndReason::Repetition { period } => {
                tracing::warn!(tokens, period, "an answer was cut: it repeated the same tokens again and again");
            }
            EndReason::EndToken | EndReason::MaxTokens | EndReason::StopSequence(_) => {}
        }
    }

    /// Shares what was computed, then sends how the answer ended: so a follow-up finds it in the cache. After an error nothing
    /// is shared, as it is unknown what was computed.
    pub(super) fn end(mut self, cache: &mut PrefixCache, ending: AnswerEnding) {
        let event = match ending {
            AnswerEnding::Failed(error) => Err(error),
            AnswerEnding::Finished(finished) => match self.sequence.share(cache) {
                Ok(()) => Ok(EngineEvent::Finished(finished)),
                Err(error) => Err(error.into()),
            },
            AnswerEnding::Unwanted => match self.sequence.share(cache) {
                Ok(()) => return,
                Err(error) => Err(error.into()),
            },
        };
        // Fails only if nobody listens any more.
        let _ = self.events.send(event);
    }

    fn send(&self, pieces: Vec<Piece>) {
        pieces.into_iter().for_each(|piece| drop(self.events.send(Ok(EngineEvent::Piece(piece)))));
    }
}

/// Why the answer ends with the token pushed last, if it does.
fn end_reason(decoder: &AnswerDecoder, output_tokens: usize, max_tokens: usize) -> Option<EndReason> {
    if let Some(text) = decoder.stop_sequence() {
        return Some(EndReason::StopSequence(text.to_string()));
    }
    if decoder.is_finished() {
        return Some(EndReason::EndToken);
    }
    (output_tokens >= max_tokens).then_some(EndReason::MaxTokens)
}

/// Samples one of the tokens that the mask allows.
fn sampled(logits: &[f32], mask: Option<&TokenMask>, sampler: &mut Sampler) -> Result<u32, EngineError> {
    let token = match mask {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    token.ok_or_else(|| EngineError::Device("the model gave no usable logit for any token that may follow".into()))
}

#[cfg(test)]
mod tests;
