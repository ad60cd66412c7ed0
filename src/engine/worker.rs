//! The one thread that owns the device: takes commands in order, prefills, decodes, keeps the prefix cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::EngineError;
use super::answer::AnswerDecoder;
use super::generation::{CLOSING_TOKENS, CacheStats, EngineEvent, EventSender, Finished, Generation, Stop};
use super::model::{KvCache, Model};
use super::prefix_cache::{PrefixCache, Role};
use super::sampler::Sampler;
use super::sequence::Sequence;

/// What the thread can be asked for. A reply nobody waits for any more is not sent.
pub enum Command {
    Generate(Box<Generation>, EventSender),
    /// Keep these tokens, computed where they are not yet, as the beginning of many prompts, and forget all others.
    KeepOnly(Vec<u32>, oneshot::Sender<Result<(), EngineError>>),
    Clear(oneshot::Sender<()>),
    Stats(oneshot::Sender<CacheStats>),
    Stop,
}

/// The thread's state.
pub struct Worker {
    pub model: Model,
    pub cache: PrefixCache<KvCache>,
    /// Prompt tokens computed between two looks at whether the answer is still wanted.
    pub prefill_chunk: usize,
    /// Set when everything, the answer in work too, is to be left.
    pub closing: Arc<AtomicBool>,
}

impl Worker {
    /// Works until told to stop, or until nobody can ask any more.
    pub fn run(mut self, commands: mpsc::Receiver<Command>) {
        for command in commands {
            match command {
                Command::Generate(generation, events) => {
                    if let Err(error) = self.generate(*generation, &events) {
                        let _ = events.send(Err(error));
                    }
                }
                Command::KeepOnly(tokens, reply) => {
                    let done = self.keep_only(&tokens, &reply);
                    let _ = reply.send(done);
                }
                Command::Clear(reply) => {
                    self.cache.clear();
                    let _ = reply.send(());
                }
                Command::Stats(reply) => {
                    let _ = reply.send(CacheStats { entries: self.cache.entries(), bytes: self.cache.bytes() });
                }
                Command::Stop => return,
            }
        }
    }

    /// Answers, telling `events`. When the answer is no longer wanted it ends early, and what was computed is kept.
    fn generate(&mut self, generation: Generation, events: &EventSender) -> Result<(), EngineError> {
        let closing = self.closing.clone();
        let wanted = || !events.is_closed() && !closing.load(Ordering::Relaxed);
        if !wanted() {
            return Ok(());
        }
        let mut sequence = self.start(&generation.prompt)?;
        let started = EngineEvent::Started { prompt_tokens: generation.prompt.len(), cached_tokens: sequence.tokens.len() };
        let _ = events.send(Ok(started));
        let finished = self.answer(&mut sequence, generation, wanted, events)?;
        self.keep(sequence, Role::Conversation);
        if let Some(finished) = finished {
            let _ = events.send(Ok(EngineEvent::Finished(finished)));
        }
        Ok(())
    }

    /// Prefills the prompt and decodes the answer; `None` when `wanted` said no.
    fn answer(
        &self,
        sequence: &mut Sequence,
        generation: Generation,
        wanted: impl Fn() -> bool,
        events: &EventSender,
    ) -> Result<Option<Finished>, EngineError> {
        let Generation { prompt, max_tokens, mut decoder, mut sampler } = generation;
        let Some((last, rest)) = prompt.split_last() else {
            return Err(EngineError::Request("the prompt is empty".into()));
        };
        let start = Instant::now();
        if !sequence.prefill(&self.model, rest, self.prefill_chunk, &wanted)? {
            return Ok(None);
        }
        let mut logits = sequence.step(&self.model, *last)?;
        let prefill = start.elapsed();

        let send = |pieces: Vec<_>| pieces.into_iter().for_each(|piece| drop(events.send(Ok(EngineEvent::Piece(piece)))));
        let mut output_tokens = 0;
        let stop = loop {
            let token = next_token(&logits, &mut decoder, &mut sampler)?;
            output_tokens += 1;
            send(decoder.push(token)?);
            if let Some(text) = decoder.stop_sequence() {
                break Stop::Sequence(text.to_string());
            }
            if decoder.is_finished() {
                // Past the limit the answer only closed its tool call.
                break if output_tokens > max_tokens { Stop::MaxTokens } else { Stop::End };
            }
            if output_tokens >= max_tokens && (output_tokens >= max_tokens + CLOSING_TOKENS || !decoder.wind_down()) {
                break Stop::MaxTokens;
            }
            if !wanted() {
                return Ok(None);
            }
            logits = sequence.step(&self.model, token)?;
        };
        send(decoder.finish());
        let decode = start.elapsed() - prefill;
        Ok(Some(Finished { stop, called_tool: decoder.called_tool(), output_tokens, prefill, decode }))
    }

    fn keep_only(&mut self, tokens: &[u32], reply: &oneshot::Sender<Result<(), EngineError>>) -> Result<(), EngineError> {
        let closing = self.closing.clone();
        let wanted = || !reply.is_closed() && !closing.load(Ordering::Relaxed);
        let mut sequence = self.start(tokens)?;
        sequence.prefill(&self.model, tokens, self.prefill_chunk, &wanted)?;
        self.cache.clear();
        self.keep(sequence, Role::Shared);
        Ok(())
    }

    fn start(&mut self, prompt: &[u32]) -> Result<Sequence, EngineError> {
        let hit = self.cache.take(prompt);
        Sequence::start(&self.model, prompt, hit)
    }

    fn keep(&mut self, sequence: Sequence, role: Role) {
        let bytes = sequence.kv.bytes();
        self.cache.insert(sequence.tokens, sequence.kv, bytes, role);
    }
}

fn next_token(logits: &[f32], decoder: &mut AnswerDecoder, sampler: &mut Sampler) -> Result<u32, EngineError> {
    let token = match decoder.mask()? {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    token.ok_or_else(|| EngineError::Device("the model gave no usable logit for any token that may follow".into()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::engine::prefix_cache::CacheLimits;
    use crate::engine::testing::{self, prompt};

    fn worker(dir: &tempfile::TempDir) -> Worker {
        testing::write_model(dir.path());
        Worker {
            model: Model::load(dir.path(), &mut |_| {}).unwrap(),
            cache: PrefixCache::new(CacheLimits::default()),
            prefill_chunk: 16,
            closing: Arc::default(),
        }
    }

    /// How many tokens were computed of a prompt of 50 and its answer, when it was wanted so many times it was asked.
    fn computed_when_wanted(times: usize) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = worker(&dir);
        let (events, _receiver) = tokio::sync::mpsc::unbounded_channel();
        let left = Cell::new(times);
        let wanted = || left.replace(left.get().saturating_sub(1)) > 0;
        let mut sequence = worker.start(&prompt(50)).unwrap();
        let finished = worker.answer(&mut sequence, testing::generation(dir.path(), &prompt(50), 100), wanted, &events);
        assert!(finished.unwrap().is_none());
        assert_eq!((&sequence.tokens[..16], sequence.kv.tokens()), (&prompt(16)[..], sequence.tokens.len()));
        sequence.tokens.len()
    }

    #[test]
    fn an_unwanted_answer_ends_at_the_next_chunk_or_token() {
        // 49 prompt tokens are four chunks of at most 16; the last one and each of the answer's are a step.
        assert_eq!([1, 2, 4, 5, 6].map(computed_when_wanted), [16, 32, 50, 51, 52]);
    }

    #[test]
    fn a_client_that_left_while_queued_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = worker(&dir);
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        drop(receiver);
        worker.generate(testing::generation(dir.path(), &prompt(50), 1), &events).unwrap();
        assert_eq!(worker.cache.entries(), 0);
    }

    #[test]
    fn what_an_unwanted_prompt_cost_is_kept_for_the_next_try() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = worker(&dir);
        let mut sequence = worker.start(&prompt(50)).unwrap();
        let wanted = Cell::new(true);
        assert!(!sequence.prefill(&worker.model, &prompt(50), 16, &|| wanted.replace(false)).unwrap());
        worker.keep(sequence, Role::Conversation);
        assert_eq!(worker.start(&prompt(50)).unwrap().tokens.len(), 16);
    }
}
