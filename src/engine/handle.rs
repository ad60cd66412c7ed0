//! The engine as the rest of the program sees it: requests go to the thread that owns the device, events come back.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::EngineError;
use super::cache::{CacheLimits, CacheStats, DiskCache, DiskOptions, PrefixCache};
use super::decode::ToolFormatName;
use super::model::{Config, LoadListener, Model};
use super::schedule::Sequence;
use super::schedule::memory::{self, MemoryLimit};
use super::schedule::{Command, Shared, WarmUp, Worker};
use super::schedule::{EventReceiver, Generation};

/// How to run a model.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Prompt tokens computed at once: how long the other answers may have to wait.
    pub prefill_chunk: usize,
    /// What the prefix cache may keep; where its bytes are not limited, half of what is free once the model is loaded.
    pub cache: CacheLimits,
    /// Where the prefix cache outlives this engine; `None`: nowhere.
    pub disk: Option<DiskOptions>,
    /// How the model writes tool calls; `None`: as its chat template does.
    pub tool_format: Option<ToolFormatName>,
    /// Who is told how far loading is.
    pub on_load: LoadListener,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            prefill_chunk: 512,
            cache: CacheLimits::default(),
            disk: None,
            tool_format: None,
            on_load: LoadListener::default(),
        }
    }
}

/// A loaded model. Requests are answered in turns.
///
/// Dropping it leaves the answers in work and waits for the device's thread, at most one chunk long.
pub struct Engine {
    config: Config,
    commands: mpsc::Sender<Command>,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads a model folder. Blocks until the weights are in memory.
    pub fn load(dir: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let (commands, inbox) = mpsc::channel();
        let (loaded, when_loaded) = mpsc::channel();
        let shared = Shared::default();
        let thread = std::thread::Builder::new()
            .name("mlx".into())
            .spawn({
                let (dir, shared) = (dir.to_path_buf(), shared.clone());
                move || own_device(dir, options, shared, loaded, inbox)
            })
            .map_err(|e| EngineError::Device(format!("cannot start the engine's thread: {e}")))?;
        let config = when_loaded.recv().map_err(|_| gone())??;
        Ok(Self { config, commands, shared, thread: Some(thread) })
    }

    /// The model's sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Queues an answer. `max_tokens` is cut to what the model's context leaves. Dropping the receiver cancels it.
    pub fn generate(&self, mut generation: Generation) -> Result<EventReceiver, EngineError> {
        self.check_prompt(&generation.prompt)?;
        if generation.max_tokens == 0 {
            return Err(EngineError::Request("max_tokens: must be at least 1".into()));
        }
        generation.max_tokens = generation.max_tokens.min(self.config.context - generation.prompt.len());
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.send(Command::Generate(Box::new(generation), events))?;
        Ok(receiver)
    }

    /// Computes these tokens, the beginning of prompts to come, when there is nothing else to do. A prompt that comes
    /// meanwhile goes on from what there is. Returns when they are computed, with an error where they are not.
    pub async fn warm(&self, tokens: Vec<u32>) -> Result<(), EngineError> {
        self.check_prompt(&tokens)?;
        self.ask(|reply| Command::Warm(tokens, reply)).await?
    }

    /// How far the warm-up is: tokens done, of how many. `None` while there is none.
    pub fn warm_up(&self) -> Option<(usize, usize)> {
        let WarmUp { done, total } = &*self.shared.warm_up;
        let total = total.load(Ordering::Relaxed);
        (total > 0).then(|| (done.load(Ordering::Relaxed), total))
    }

    /// Leaves just these tokens in the prefix cache, the beginning of prompts to come. Computes what of them is not there.
    pub async fn keep_only(&self, tokens: Vec<u32>) -> Result<(), EngineError> {
        self.check_prompt(&tokens)?;
        self.ask(|reply| Command::KeepOnly(tokens, reply)).await?
    }

    /// Empties the prefix cache, after the answers queued before.
    pub async fn clear_cache(&self) -> Result<(), EngineError> {
        self.ask(Command::Clear).await
    }

    /// What the prefix cache holds and did. Does not wait for the device.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_prompt(&self, prompt: &[u32]) -> Result<(), EngineError> {
        let Config { context, vocab_size, .. } = self.config;
        if prompt.is_empty() {
            return Err(EngineError::Request("the prompt is empty".into()));
        }
        if prompt.len() >= context {
            // Claude Code knows these words and compacts the conversation.
            let reason = format!("prompt is too long: {} tokens > {} maximum", prompt.len(), context - 1);
            return Err(EngineError::Request(reason));
        }
        match prompt.iter().find(|token| **token as usize >= vocab_size) {
            Some(token) => Err(EngineError::Device(format!("the tokenizer gives token {token}, the model knows {vocab_size}"))),
            None => Ok(()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| gone())
    }

    fn send(&self, command: Command) -> Result<(), EngineError> {
        self.commands.send(command).map_err(|_| gone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // MLX must not be at work while the process takes its static data down.
        self.shared.closing.store(true, Ordering::Relaxed);
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's whole life: load, tell how it went, work.
fn own_device(
    dir: PathBuf,
    options: EngineOptions,
    shared: Shared,
    loaded: mpsc::Sender<Result<Config, EngineError>>,
    inbox: mpsc::Receiver<Command>,
) {
    let (model, disk) = match load(&dir, &options) {
        Ok(loaded) => loaded,
        Err(error) => return drop(loaded.send(Err(error))),
    };
    let memory = match Sequence::token_bytes(&model) {
        Ok(token_bytes) => MemoryLimit::of_free(token_bytes),
        Err(error) => return drop(loaded.send(Err(error.into()))),
    };
    let limits = CacheLimits { bytes: options.cache.bytes.or(memory::available().map(|free| free / 2)), ..options.cache };
    let config = model.config().clone();
    let cache = PrefixCache::new(limits, disk, shared.cache.clone());
    let mut worker = Worker::new(model, cache, options.prefill_chunk.max(1), memory, shared);
    worker.recall_latest();
    let _ = loaded.send(Ok(config));
    worker.run(inbox);
}

/// The model; meanwhile another thread looks through what an earlier run has left on the disk.
fn load(dir: &Path, options: &EngineOptions) -> Result<(Model, Option<DiskCache>), EngineError> {
    // Without entries nothing is kept anywhere.
    let disk = options.disk.clone().filter(|_| options.cache.entries > 0);
    std::thread::scope(|scope| {
        let disk = disk.map(|disk| scope.spawn(|| DiskCache::open(disk, dir)));
        let model = Model::load(dir, &options.on_load)?;
        let disk = disk.map(|opening| opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok((model, disk.transpose()?.flatten()))
    })
}

fn gone() -> EngineError {
    EngineError::Device("the engine's thread is gone; restart the server".into())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::engine::decode::Piece;
    use crate::engine::testing::{self, prompt};
    use crate::engine::{EngineEvent, Finished, Stop};

    /// An engine on the random model, and what it takes to ask it.
    struct Rig {
        dir: tempfile::TempDir,
        engine: Engine,
    }

    impl Rig {
        fn new(options: EngineOptions) -> Self {
            let dir = tempfile::tempdir().unwrap();
            testing::write_model(dir.path());
            let engine = Engine::load(dir.path(), options).unwrap();
            Self { dir, engine }
        }

        fn generation(&self, prompt: &[u32], max_tokens: usize) -> Generation {
            testing::generation(self.dir.path(), prompt, max_tokens)
        }

        /// Cached tokens, text and ending of a whole answer.
        async fn answer(&self, prompt: &[u32], max_tokens: usize) -> (usize, String, Finished) {
            let mut events = self.engine.generate(self.generation(prompt, max_tokens)).unwrap();
            let mut seen = VecDeque::new();
            while let Some(event) = events.recv().await {
                seen.push_back(event.unwrap());
            }
            let Some(EngineEvent::Started { prompt_tokens, cached_tokens }) = seen.pop_front() else { panic!("not started") };
            let Some(EngineEvent::Finished(finished)) = seen.pop_back() else { panic!("not finished") };
            assert_eq!(prompt_tokens, prompt.len());
            let text = seen.into_iter().map(|event| match event {
                EngineEvent::Piece(Piece::Text(text)) => text,
                other => panic!("unexpected {other:?}"),
            });
            (cached_tokens, text.collect(), finished)
        }
    }

    #[tokio::test]
    async fn a_repeated_prompt_is_cached_and_answered_alike() {
        let rig = Rig::new(EngineOptions { prefill_chunk: 100, ..EngineOptions::default() });
        let (cached, cold, finished) = rig.answer(&prompt(350), 12).await;
        assert_eq!((cached, &finished.stop, finished.output_tokens), (0, &Stop::MaxTokens, 12));
        let (cached, again, _) = rig.answer(&prompt(350), 12).await;
        assert_eq!((cached, &again), (349, &cold));
        rig.engine.clear_cache().await.unwrap();
        assert!(
            matches!(&rig.engine.cache_stats(), CacheStats { entries, bytes: 0, hits: 1, misses: 1, .. } if entries.is_empty())
        );
        let (cached, after_clear, _) = rig.answer(&prompt(350), 12).await;
        assert_eq!((cached, &after_clear), (0, &cold));
    }

    #[tokio::test]
    async fn a_kept_prefix_is_all_that_is_left_and_a_hit_for_every_conversation_that_starts_with_it() {
        let rig = Rig::new(EngineOptions::default());
        rig.answer(&prompt(350), 2).await;
        rig.engine.keep_only(prompt(300)).await.unwrap();
        for first in [1, 2, 3] {
            let conversation = [prompt(300), vec![first; 20]].concat();
            assert_eq!(rig.answer(&conversation, 2).await.0, 300);
        }
        assert_eq!(rig.engine.cache_stats().entries.len(), 3);
    }

    #[tokio::test]
    async fn a_follow_up_finds_its_conversation_and_takes_its_place() {
        let rig = Rig::new(EngineOptions::default());
        rig.answer(&prompt(100), 1).await;
        let (cached, ..) = rig.answer(&prompt(140), 1).await;
        assert_eq!((cached, rig.engine.cache_stats().entries.len()), (100, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_answered_is_refused_before_it_queues() {
        let rig = Rig::new(EngineOptions::default());
        let refused = |prompt: &[u32], max_tokens| match rig.engine.generate(rig.generation(prompt, max_tokens)) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        let too_long = prompt(testing::CONTEXT);
        assert_eq!(refused(&too_long, 1), "prompt is too long: 4096 tokens > 4095 maximum");
        assert_eq!(refused(&[], 1), "the prompt is empty");
        assert_eq!(refused(&[1], 0), "max_tokens: must be at least 1");
        assert_eq!(refused(&[4096], 1), "engine: the tokenizer gives token 4096, the model knows 4096");
    }

    #[tokio::test]
    async fn an_answer_ends_where_the_context_does() {
        let rig = Rig::new(EngineOptions::default());
        let (_, _, finished) = rig.answer(&prompt(testing::CONTEXT - 3), 64_000).await;
        assert_eq!((finished.stop, finished.output_tokens), (Stop::MaxTokens, 3));
    }

    #[test]
    fn a_folder_that_is_no_model_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Engine::load(dir.path(), EngineOptions::default()).err().expect("there is nothing to load");
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
