//! The one thread that owns the device: admits requests in order, lets the answers in work take turns, keeps the cache.
//!
//! Answers that grow come first; prompts are computed chunk by chunk between them, in turn. Every chunk is shared through
//! the cache at once, so that prompts that begin alike are computed together, each chunk once. A warm-up gets what time is
//! left over, and after it the reading of former conversations from the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use tokio::sync::oneshot;

use super::active_answer::Answering;
use super::generation::{EventSender, Finished, Generation};
use super::memory::{MemoryLimit, Room};
use super::sequence::Sequence;
use crate::engine::EngineError;
use crate::engine::cache::{CacheStats, PrefixCache};
use crate::engine::model::Model;

/// Most answers in work at once. Each holds memory of its own, and more would only make every one slower.
const AT_ONCE: usize = 16;

/// Where the outcome of a command goes.
pub type Reply = oneshot::Sender<Result<(), EngineError>>;

/// What the thread can be asked for. A reply nobody waits for any more is not sent.
pub enum Command {
    Generate(Box<Generation>, EventSender),
    /// Keep these tokens, computed where they are not yet, as the beginning of many prompts, and forget all others. Waits
    /// for the answers asked for before.
    KeepOnly(Vec<u32>, Reply),
    /// Waits for the answers asked for before.
    Clear(oneshot::Sender<()>),
    /// Compute these tokens, the beginning of prompts to come, when there is nothing else to do. The reply comes when that is
    /// done or has failed.
    Warm(Vec<u32>, Reply),
    Stop,
}

/// How far a warm-up is. Read by any thread.
#[derive(Debug, Default)]
pub struct WarmUp {
    /// Tokens computed or known.
    pub done: AtomicUsize,
    /// Tokens in all; 0 while there is no warm-up, and after it.
    pub total: AtomicUsize,
}

/// What the thread and all others have in common.
#[derive(Clone, Default)]
pub struct Shared {
    /// Set when everything, the answers in work too, is to be left.
    pub closing: Arc<AtomicBool>,
    pub cache: Arc<Mutex<CacheStats>>,
    pub warm_up: Arc<WarmUp>,
}

/// The thread's state.
pub struct Worker {
    model: Model,
    cache: PrefixCache,
    /// Prompt tokens computed in one go: what a growing answer may have to wait for.
    prefill_chunk: usize,
    memory: MemoryLimit,
    closing: Arc<AtomicBool>,
    progress: Arc<WarmUp>,
    queue: VecDeque<Command>,
    /// Answers in work; of those that prefill, the one whose turn it is comes first.
    answers: VecDeque<Answering>,
    warming: Option<Warming>,
    /// Conversations on the disk that are to be read when there is nothing else to do; the next one is last.
    ahead: Vec<Vec<u32>>,
}

/// A warm-up in work.
struct Warming {
    /// The tokens to compute, and one more.
    tokens: Vec<u32>,
    sequence: Sequence,
    reply: Reply,
}

impl Worker {
    pub fn new(model: Model, cache: PrefixCache, prefill_chunk: usize, memory: MemoryLimit, shared: Shared) -> Self {
        let Shared { closing, warm_up: progress, .. } = shared;
        let (queue, answers) = (VecDeque::new(), VecDeque::new());
        Self { model, cache, prefill_chunk, memory, closing, progress, queue, answers, warming: None, ahead: Vec::new() }
    }

    /// Reads the conversation used last from the disk: it is likely to go on. The others follow when there is nothing else to do.
    pub fn recall_latest(&mut self) {
        self.ahead = self.cache.latest_on_disk();
        self.ahead.reverse();
        let others = self.ahead.len().saturating_sub(1);
        while self.ahead.len() > others {
            self.read_chunk_ahead();
        }
    }

    /// Reads a chunk of the next conversation from the disk.
    fn read_chunk_ahead(&mut self) {
        let Some(tokens) = self.ahead.last() else { return };
        let known = self.cache.known(tokens);
        let chunk = &tokens[..tokens.len().min(known + self.prefill_chunk)];
        let read = match self.memory.room_for((chunk.len() - known) * self.memory.token_bytes) {
            Room::Enough => self.cache.read_ahead(chunk),
            Room::Missing(_) => return self.ahead.clear(),
        };
        if let Err(error) = read {
            tracing::warn!(error = error.what(), "nothing more read from the disk ahead");
            return self.ahead.clear();
        }
        // It is all there, or the cache has no room for it, or it was damaged.
        if self.cache.known(tokens) <= known {
            self.ahead.pop();
        }
    }

    /// Works until told to stop, or until nobody can ask any more.
    pub fn run(mut self, commands: mpsc::Receiver<Command>) {
        loop {
            if self.is_idle() {
                match commands.recv() {
                    Ok(command) => self.queue.push_back(command),
                    Err(mpsc::RecvError) => return,
                }
            }
            self.queue.extend(commands.try_iter());
            if self.closing.load(Ordering::Relaxed) || self.queue.iter().any(|command| matches!(command, Command::Stop)) {
                return;
            }
            self.admit();
            self.turn();
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.answers.is_empty() && self.warming.is_none() && self.ahead.is_empty()
    }

    /// Begins what was asked for, in order, as far as it can begin now.
    fn admit(&mut self) {
        while let Some(command) = self.queue.pop_front() {
            match command {
                Command::Generate(generation, events) if self.answers.len() < AT_ONCE => self.begin(*generation, events),
                Command::KeepOnly(tokens, reply) if self.answers.is_empty() => {
                    self.stop_warming();
                    self.ahead.clear();
                    let done = self.keep_only(&tokens, &reply);
                    let _ = reply.send(done);
                }
                Command::Clear(reply) if self.answers.is_empty() => {
                    self.stop_warming();
                    self.ahead.clear();
                    self.cache.clear();
                    let _ = reply.send(());
                }
                Command::Warm(tokens, reply) => self.start_warming(tokens, reply),
                Command::Stop => {}
                Command::Generate(..) | Command::KeepOnly(..) | Command::Clear(_) => return self.queue.push_front(command),
            }
        }
    }

    fn begin(&mut self, generation: Generation, events: EventSender) {
        if events.is_closed() {
            return;
        }
        let room = self.make_room(&generation.prompt, generation.max_tokens);
        match room.and_then(|()| Answering::start(&self.model, &mut self.cache, generation, events.clone())) {
            Ok(answer) => self.answers.push_back(answer),
            Err(error) => drop(events.send(Err(error))),
        }
    }

    /// Makes sure that a prompt and its answer fit into memory beside the answers in work: the cache shrinks first.
    fn make_room(&mut self, prompt: &[u32], max_tokens: usize) -> Result<(), EngineError> {
        self.memory.check(prompt.len(), max_tokens)?;
        let whole = self.memory.whole(prompt.len(), max_tokens);
        // What the others will still take.
        let promised: usize = self.answers.iter().map(|answer| answer.to_come(&self.memory)).sum();
        let needed = |cache: &PrefixCache| promised + whole.saturating_sub(cache.known(prompt) * self.memory.token_bytes);
        if let Room::Missing(bytes) = self.memory.room_for(needed(&self.cache)) {
            self.cache.shrink_by(bytes);
        }
        match self.memory.room_for(needed(&self.cache)) {
            Room::Enough => Ok(()),
            // What was dropped may have been of use to this very prompt.
            Room::Missing(_) if self.answers.is_empty() => {
                self.cache.shrink_by(usize::MAX);
                Ok(())
            }
            Room::Missing(_) => Err(EngineError::Overloaded("no memory left beside the answers in work: try again".into())),
        }
    }

    /// A chunk of one prompt, then as much time for the answers that grow, one token each at least.
    fn turn(&mut self) {
        self.leave_unwanted();
        let start = Instant::now();
        let end = if self.prefill_chunk() { start + 2 * start.elapsed() } else { start };
        self.grow();
        while Instant::now() < end && self.answers.iter().any(|answer| !answer.is_prefilling()) && !self.is_closing() {
            self.leave_unwanted();
            self.grow();
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

    /// Ends the answers that nobody waits for. What was computed for them is kept.
    fn leave_unwanted(&mut self) {
        self.each(|answer| if answer.is_wanted() { None } else { Some(Ok(None)) });
    }

    /// One token more for every answer whose prompt is computed.
    fn grow(&mut self) {
        let mut growing: Vec<_> = self.answers.iter_mut().filter(|answer| !answer.is_prefilling()).collect();
        if growing.is_empty() {
            return;
        }
        let mut outcomes = Answering::step(&self.model, &mut growing).into_iter();
        self.each(|answer| match answer.is_prefilling() {
            true => None,
            false => outcomes.next()?.map(|finished| finished.map(Some)).transpose(),
        });
    }

    /// Does something to every answer, and ends those for which that gives an outcome.
    fn each(&mut self, mut act: impl FnMut(&mut Answering) -> Option<Result<Option<Finished>, EngineError>>) {
        for mut answer in std::mem::take(&mut self.answers) {
            match act(&mut answer) {
                None => self.answers.push_back(answer),
                Some(outcome) => answer.end(&mut self.cache, outcome),
            }
        }
    }

    /// A chunk of the next prompt in turn; `false` if there is none.
    fn prefill_chunk(&mut self) -> bool {
        let Some(index) = self.answers.iter().position(Answering::is_prefilling) else { return false };
        let Some(mut answer) = self.answers.remove(index) else { return false };
        match answer.prefill_chunk(&self.model, &mut self.cache, self.prefill_chunk) {
            Ok(()) => self.answers.push_back(answer),
            Err(error) => answer.end(&mut self.cache, Err(error)),
        }
        true
    }

    fn start_warming(&mut self, mut tokens: Vec<u32>, reply: Reply) {
        self.stop_warming();
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(tokens.len(), Ordering::Relaxed);
        // A prompt's last token is never computed ahead; here there is one more to come.
        tokens.push(0);
        if let Err(error) = self.cache.recall(&tokens) {
            tracing::warn!(error = error.what(), "the warm-up cannot use the disk");
        }
        self.warming = Some(Warming { tokens, sequence: Sequence::new(&self.model), reply });
    }

    /// A chunk of the warm-up.
    fn warm_chunk(&mut self) {
        let Some(Warming { tokens, sequence, .. }) = &mut self.warming else { return };
        let computed = sequence.prefill_chunk(&self.model, &mut self.cache, tokens, self.prefill_chunk);
        self.progress.done.store(sequence.tokens().len(), Ordering::Relaxed);
        match computed {
            Err(error) => self.end_warming(Err(error.into())),
            Ok(_) if sequence.tokens().len() + 1 >= tokens.len() => self.end_warming(Ok(())),
            Ok(_) => {}
        }
    }

    /// Who asks for a certain state of the cache does not want a warm-up to change it.
    fn stop_warming(&mut self) {
        self.end_warming(Err(EngineError::WarmUpStopped));
    }

    fn end_warming(&mut self, outcome: Result<(), EngineError>) {
        self.progress.total.store(0, Ordering::Relaxed);
        if let Some(Warming { reply, .. }) = self.warming.take() {
            let _ = reply.send(outcome);
        }
    }

    fn keep_only(&mut self, tokens: &[u32], reply: &Reply) -> Result<(), EngineError> {
        let prompt = [tokens, &[0]].concat();
        let mut sequence = Sequence::new(&self.model);
        self.cache.recall(&prompt)?;
        self.cache.catch_up(&mut sequence, &prompt)?;
        while sequence.tokens().len() < tokens.len() && !reply.is_closed() && !self.is_closing() {
            sequence.prefill_chunk(&self.model, &mut self.cache, &prompt, self.prefill_chunk)?;
        }
        self.cache.clear();
        Ok(self.cache.keep(&mut sequence)?)
    }
}

#[cfg(test)]
mod tests;
