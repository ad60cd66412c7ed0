//! The loop of the thread that owns the device: it admits requests in order and lets the active answers take turns.
//!
//! Decoding comes first; prompts are prefilled between its steps, one chunk of one prompt at a time, in turn. Every chunk goes
//! into the prefix cache at once, so prompts that begin alike compute their common chunks only once. A warm-up gets the time
//! that is left over, and after it the reading of earlier conversations from disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use tokio::sync::oneshot;

use super::active_answer::{ActiveAnswer, AnswerEnding};
use super::device_memory::WiredMemory;
use super::generation::{EventSender, Generation};
use super::memory::{MemoryLimit, Room};
use super::output_limits::OutputLimits;
use super::read_ahead::ReadAhead;
use super::sequence::Sequence;
use crate::engine::EngineError;
use crate::engine::cache::{CacheStats, PrefixCache};
use crate::engine::model::Model;
use crate::engine::segment::SEGMENT_TOKENS;

/// Most active answers. Each holds memory of its own, and more would only slow all of them down.
pub(crate) const MAX_ACTIVE: usize = 16;

/// Where the outcome of a command goes.
pub(super) type Reply = oneshot::Sender<Result<(), EngineError>>;

/// A command to the thread. A reply that nobody waits for any more is dropped.
pub(crate) enum WorkerCommand {
    Generate(Box<Generation>, EventSender),
    /// Forget everything in the prefix cache but these tokens, which are computed if they are missing. Waits for the answers
    /// requested before.
    KeepOnly(Vec<u32>, Reply),
    /// Empty the prefix cache. Waits for the answers requested before.
    Clear(oneshot::Sender<()>),
    /// Warm up: compute these tokens, the beginning of prompts to come, when nothing else is to be done. The reply
    /// comes when that is done or has failed.
    Warm(Vec<u32>, Reply),
    Stop,
}

/// Progress of a warm-up, for any thread.
#[derive(Debug, Default)]
pub(crate) struct WarmUpProgress {
    /// Tokens that are in the cache.
    pub done: AtomicUsize,
    /// All its tokens; 0 if no warm-up is at work.
    pub total: AtomicUsize,
}

/// State that the device's thread shares with all others.
#[derive(Clone, Default)]
pub(crate) struct SharedState {
    /// Set to end the thread at once, active answers included.
    pub closing: Arc<AtomicBool>,
    pub cache: Arc<Mutex<CacheStats>>,
    pub warm_up: Arc<WarmUpProgress>,
    /// Whether conversations are still being read ahead from disk.
    pub reading_ahead: Arc<AtomicBool>,
}

/// The state of the device's thread.
pub(crate) struct Worker {
    model: Model,
    cache: PrefixCache,
    /// Most prompt tokens computed in one forward pass.
    prefill_chunk: usize,
    output: OutputLimits,
    memory: MemoryLimit,
    closing: Arc<AtomicBool>,
    progress: Arc<WarmUpProgress>,
    queue: VecDeque<WorkerCommand>,
    /// Active answers; of those that prefill, the first one is next.
    answers: VecDeque<ActiveAnswer>,
    warming: Option<Warming>,
    /// What to read from disk when nothing else is to be done.
    ahead: ReadAhead,
}

/// The warm-up at work.
struct Warming {
    tokens: Vec<u32>,
    sequence: Sequence,
    reply: Reply,
}

impl Worker {
    /// A worker without requests.
    pub(crate) fn new(model: Model, cache: PrefixCache, prefill_chunk: usize, memory: MemoryLimit, shared: SharedState) -> Self {
        let SharedState { closing, warm_up: progress, reading_ahead, .. } = shared;
        let ahead = ReadAhead::new(reading_ahead);
        let cache = cache.of_model(model.config());
        let (queue, answers) = (VecDeque::new(), VecDeque::new());
        let output = OutputLimits::default();
        Self { model, cache, prefill_chunk, output, memory, closing, progress, queue, answers, warming: None, ahead }
    }

    /// Limits every answer that begins from now on.
    pub(crate) fn limit_output(&mut self, limits: OutputLimits) {
        self.output = limits;
    }

    /// Reads the most recently used conversation from disk, as it is likely to go on, and schedules the others.
    pub(crate) fn recall_latest(&mut self) {
        self.ahead.schedule(self.cache.latest_on_disk());
        let others = self.ahead.len().saturating_sub(1);
        while self.ahead.len() > others {
            self.read_chunk_ahead();
        }
    }

    /// Reads a chunk of the next conversation from disk.
    fn read_chunk_ahead(&mut self) {
        let Some(tokens) = self.ahead.next() else { return };
        let known = self.cache.known(tokens);
        let chunk = &tokens[..self.cache.readable_end(tokens, known + self.prefill_chunk)];
        let read = match self.memory.room_for((chunk.len() - known) * self.memory.token_bytes) {
            Room::Enough => self.cache.read_ahead(chunk),
            Room::Missing(_) => return self.ahead.stop(),
        };
        if let Err(error) = read {
            tracing::warn!(error = error.what(), "reading ahead from disk ends here");
            return self.ahead.stop();
        }
        // No progress: all of it is in memory, or the cache has no room for more, or a file was damaged.
        if self.cache.known(tokens) <= known {
            self.ahead.advance();
        }
    }

    /// Works until it is told to stop or no caller is left. Memory is wired while there is work.
    pub(crate) fn run(mut self, commands: mpsc::Receiver<WorkerCommand>, wired: &WiredMemory) {
        wired.hold();
        loop {
            if self.is_idle() {
                wired.release();
                match commands.recv() {
                    Ok(command) => self.queue.push_back(command),
                    Err(mpsc::RecvError) => return,
                }
                wired.hold();
            }
            self.queue.extend(commands.try_iter());
            if self.is_closing() || self.queue.iter().any(|command| matches!(command, WorkerCommand::Stop)) {
                return;
            }
            self.admit();
            self.turn();
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.answers.is_empty() && self.warming.is_none() && self.ahead.next().is_none()
    }

    /// Begins the queued commands, in order, up to one that has to wait.
    fn admit(&mut self) {
        while let Some(command) = self.queue.pop_front() {
            match command {
                WorkerCommand::Generate(generation, events) if self.answers.len() < MAX_ACTIVE => self.begin(*generation, events),
                // Whoever asks for a certain state of the cache does not want a warm-up or reading ahead to change it.
                WorkerCommand::KeepOnly(tokens, reply) if self.answers.is_empty() => {
                    self.stop_warming();
                    self.ahead.stop();
                    let done = self.keep_only(&tokens, &reply);
                    let _ = reply.send(done);
                }
                WorkerCommand::Clear(reply) if self.answers.is_empty() => {
                    self.stop_warming();
                    self.ahead.stop();
                    self.cache.clear();
                    let _ = reply.send(());
                }
                WorkerCommand::Warm(tokens, reply) => self.start_warming(tokens, reply),
                WorkerCommand::Stop => {}
                WorkerCommand::Generate(..) | WorkerCommand::KeepOnly(..) | WorkerCommand::Clear(_) => {
                    return self.queue.push_front(command);
                }
            }
        }
    }

    /// Makes an answer active, or sends why not.
    fn begin(&mut self, generation: Generation, events: EventSender) {
        if events.is_closed() {
            return;
        }
        let room = self.make_room(&generation.prompt, generation.max_tokens);
        match room.and_then(|()| ActiveAnswer::start(&self.model, &mut self.cache, generation, self.output, events.clone())) {
            Ok(answer) => self.answers.push_back(answer),
            Err(error) => drop(events.send(Err(error))),
        }
    }

    /// Ensures that a prompt and its answer fit into memory beside the active answers; shrinks the prefix cache if need be.
    fn make_room(&mut self, prompt: &[u32], max_tokens: usize) -> Result<(), EngineError> {
        self.memory.check(prompt.len(), max_tokens)?;
        let whole = self.memory.whole(prompt.len(), max_tokens);
        // Memory that the active answers will still take.
        let promised: usize = self.answers.iter().map(|answer| answer.bytes_to_come(&self.memory)).sum();
        let needed = |cache: &PrefixCache| promised + whole.saturating_sub(cache.known(prompt) * self.memory.token_bytes);
        if let Room::Missing(bytes) = self.memory.room_for(needed(&self.cache)) {
            self.cache.shrink_by(bytes);
        }
        match self.memory.room_for(needed(&self.cache)) {
            Room::Enough => Ok(()),
            // Alone it fits (see `check`), but the cache may have evicted segments that `needed` counted on: evict the rest.
            Room::Missing(_) if self.answers.is_empty() => {
                self.cache.shrink_by(usize::MAX);
                Ok(())
            }
            Room::Missing(_) => Err(EngineError::Overloaded("no memory left beside the answers in work: try again".into())),
        }
    }

    /// Prefills one chunk, then decodes for as long as that took, at least one step.
    fn turn(&mut self) {
        self.end_unwanted();
        let start = Instant::now();
        let end = if self.prefill_chunk() { start + 2 * start.elapsed() } else { start };
        self.decode();
        while Instant::now() < end && self.answers.iter().any(|answer| !answer.is_prefilling()) && !self.is_closing() {
            self.end_unwanted();
            self.decode();
        }
        if self.answers.is_empty() {
            match self.warming {
                Some(_) => self.warm_chunk(),
                None => self.read_chunk_ahead(),
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Ends the answers that nobody waits for. What was computed for them stays in the cache.
    fn end_unwanted(&mut self) {
        self.end_some(|answer| (!answer.is_wanted()).then_some(AnswerEnding::Unwanted));
    }

    /// One decoding step for every answer whose prompt is computed.
    fn decode(&mut self) {
        let mut decoding: Vec<_> = self.answers.iter_mut().filter(|answer| !answer.is_prefilling()).collect();
        if decoding.is_empty() {
            return;
        }
        let mut endings = ActiveAnswer::step(&self.model, &self.memory, &mut decoding).into_iter();
        self.end_some(|answer| if answer.is_prefilling() { None } else { endings.next()? });
    }

    /// Ends the answers for which `ending` returns one.
    fn end_some(&mut self, mut ending: impl FnMut(&ActiveAnswer) -> Option<AnswerEnding>) {
        for answer in std::mem::take(&mut self.answers) {
            match ending(&answer) {
                None => self.answers.push_back(answer),
                Some(ending) => answer.end(&mut self.cache, ending),
            }
        }
    }

    /// Prefills a chunk of the next prompt in turn; `false` if there is none.
    fn prefill_chunk(&mut self) -> bool {
        let Some(index) = self.answers.iter().position(ActiveAnswer::is_prefilling) else { return false };
        let Some(mut answer) = self.answers.remove(index) else { return false };
        // The longest that a decoding answer has to wait.
        let most = if self.answers.iter().all(ActiveAnswer::is_prefilling) { usize::MAX } else { SEGMENT_TOKENS };
        match answer.prefill_chunk(&self.model, &mut self.cache, self.prefill_chunk.min(most)) {
            Ok(()) => self.answers.push_back(answer),
            Err(error) => answer.end(&mut self.cache, AnswerEnding::Failed(error)),
        }
        true
    }

    /// Schedules a warm-up, in place of an earlier one.
    fn start_warming(&mut self, tokens: Vec<u32>, reply: Reply) {
        self.stop_warming();
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(tokens.len(), Ordering::Relaxed);
        if let Err(error) = self.cache.recall(&tokens) {
            tracing::warn!(error = error.what(), "the warm-up cannot use the disk");
        }
        self.warming = Some(Warming { tokens, sequence: Sequence::new(&self.model), reply });
    }

    /// Computes a chunk of the warm-up.
    fn warm_chunk(&mut self) {
        let Some(Warming { tokens, sequence, .. }) = &mut self.warming else { return };
        let computed = sequence.prefill_chunk(&self.model, &mut self.cache, tokens, self.prefill_chunk);
        self.progress.done.store(sequence.tokens().len(), Ordering::Relaxed);
        match computed {
            Err(error) => self.end_warming(Err(error.into())),
            Ok(_) if sequence.tokens().len() >= tokens.len() => self.end_warming(Ok(())),
            Ok(_) => {}
        }
    }

    /// Ends the warm-up.
    fn stop_warming(&mut self) {
        self.end_warming(Err(EngineError::WarmUpStopped));
    }

    fn end_warming(&mut self, outcome: Result<(), EngineError>) {
        self.progress.total.store(0, Ordering::Relaxed);
        if let Some(Warming { reply, .. }) = self.warming.take() {
            let _ = reply.send(outcome);
        }
    }

    /// Forgets everything but `tokens`; gives up computing them if nobody waits any more.
    fn keep_only(&mut self, tokens: &[u32], reply: &Reply) -> Result<(), EngineError> {
        let mut sequence = Sequence::new(&self.model);
        self.cache.recall(tokens)?;
        sequence.catch_up(&mut self.cache, tokens)?;
        while sequence.tokens().len() < tokens.len() && !reply.is_closed() && !self.is_closing() {
            sequence.prefill_chunk(&self.model, &mut self.cache, tokens, self.prefill_chunk)?;
        }
        self.cache.clear();
        Ok(sequence.share(&mut self.cache)?)
    }
}

#[cfg(test)]
mod tests;
