//! One active answer: its prompt is prefilled chunk by chunk, then it is decoded token by token, or several at a time where a
//! draft is accepted. The worker decides when.

use std::time::{Duration, Instant};

use super::generation::{EndReason, EngineEvent, EventSender, Finished, Generation};
use super::memory::{self, MemoryLimit};
use super::prompt_lookup::{MAX_DRAFT_TOKENS, PromptLookup};
use super::sequence::Sequence;
use crate::engine::EngineError;
use crate::engine::cache::PrefixCache;
use crate::engine::decode::{AnswerDecoder, Piece, Sampler};
use crate::engine::model::Model;

/// An answer in work on the device's thread.
pub(super) struct ActiveAnswer {
    generation: Generation,
    events: EventSender,
    /// The tokens computed so far, without the one in `next`.
    sequence: Sequence,
    /// The token to compute next in decoding: the prompt's last one, then the one sampled last.
    next: u32,
    lookup: PromptLookup,
    output_tokens: usize,
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
    /// The token sampled last, then the drafted ones, if any.
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
        Ok(Self { generation, events, sequence, next, lookup: PromptLookup::default(), output_tokens: 0, prefill, decode })
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

    /// Decodes one token for each of these answers, or several if a draft is accepted, all in one forward pass. Returns the
    /// endings of those that ended. An error of the device ends all of them, one of a single answer only that answer.
    pub(super) fn step(model: &Model, answers: &mut [&mut Self]) -> Vec<Option<AnswerEnding>> {
        let start = Instant::now();
        let drafts: Vec<DraftedStep> = answers.iter_mut().map(|answer| answer.draft()).collect();
        let mut growing: Vec<_> =
            answers.iter_mut().zip(&drafts).map(|(answer, draft)| (&mut answer.sequence, &draft.tokens[..])).collect();
        match Sequence::step(model, &mut growing) {
            Err(error) => answers.iter().map(|_| Some(AnswerEnding::Failed(error.clone()))).collect(),
            Ok(logits) => {
                let (vocabulary, mut rest) = (model.config().vocab_size, &logits[..]);
                let each = answers.iter_mut().zip(drafts).map(|(answer, draft)| {
                    let (own, others) = rest.split_at(draft.tokens.len() * vocabulary);
                    rest = others;
                    match answer.verify(own.chunks_exact(vocabulary), &draft, start) {
                        Ok(finished) => finished.map(AnswerEnding::Finished),
                        Err(error) => Some(AnswerEnding::Failed(error)),
                    }
                });
                each.collect()
            }
        }
    }

    /// The token sampled last and a draft of what follows: what the sampler was taught, else what the grammar requires, else what prompt lookup proposes.
    fn draft(&mut self) -> DraftedStep {
        let Generation { decoder, sampler, max_tokens, .. } = &self.generation;
        // No draft before the first token, whose latency the client notices, and none beyond the last one.
        let most = if self.output_tokens == 0 { 0 } else { max_tokens.saturating_sub(self.output_tokens + 1) };
        let most = most.min(MAX_DRAFT_TOKENS).min(self.sequence.room() - 1);
        let mut tokens = if most > 0 { sampler.taught() } else { vec![] };
        if tokens.is_empty() && most > 0 {
            tokens = decoder.forced();
        }
        let mut from_lookup = false;
        if tokens.is_empty() && most > 0 {
            tokens = self.lookup.propose(self.sequence.tokens(), self.next, most);
            from_lookup = true;
        }
        tokens.truncate(most);
        tokens.insert(0, self.next);
        DraftedStep { tokens, from_lookup }
    }

    /// Verifies the draft: samples row by row until a sample differs from the drafted token. Sends what the accepted tokens add;
    /// `start` is when the step began.
    fn verify<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [f32]>,
        draft: &DraftedStep,
        start: Instant,
    ) -> Result<Option<Finished>, EngineError> {
        let first = self.output_tokens == 0;
        if first {
            self.prefill += start.elapsed();
        }
        let drafted = &draft.tokens[1..];
        let (mut accepted, mut end) = (0, Ok(None));
        for logits in rows {
            end = self.sample(logits);
            if !matches!(end, Ok(None)) || drafted.get(accepted) != Some(&self.next) {
                break;
            }
            accepted += 1;
        }
        if draft.from_lookup && !drafted.is_empty() {
            self.lookup.adapt(drafted.len(), accepted);
        }
        self.sequence.settle(drafted.len() - accepted)?;
        if !first {
            self.decode += start.elapsed();
        }
        let Some(reason) = end? else { return Ok(None) };
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

    /// Samples the next token and sends what it adds; returns why the answer ends with it, if it does.
    fn sample(&mut self, logits: &[f32]) -> Result<Option<EndReason>, EngineError> {
        let Generation { decoder, sampler, max_tokens, .. } = &mut self.generation;
        self.next = next_token(logits, decoder, sampler)?;
        self.output_tokens += 1;
        let pieces = decoder.push(self.next)?;
        let reason = end_reason(decoder, self.output_tokens, *max_tokens);
        self.send(pieces);
        Ok(reason)
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

/// Samples the next token.
fn next_token(logits: &[f32], decoder: &mut AnswerDecoder, sampler: &mut Sampler) -> Result<u32, EngineError> {
    let mask = decoder.mask()?;
    let token = match &mask {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    let token =
        token.ok_or_else(|| EngineError::Device("the model gave no usable logit for any token that may follow".into()))?;
    decoder.weigh(token, logits, mask.as_ref());
    Ok(token)
}

#[cfg(test)]
mod tests;
